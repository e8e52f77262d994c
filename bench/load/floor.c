/* The fastest a FUSE daemon can be: no tree, no bytes, no thread but one, and the answer to each request is a constant. Looks for requests
 * without ever sleeping (spin) or blocks in read(2) (block), with the cores held awake or not. Names f0 ... are files of 256 MiB, others
 * folders. Ends with the mount. */
#include "load.h"
#include <linux/fuse.h>
#include <sys/mount.h>

static char in[2 << 20] __attribute__((aligned(4096)));
static struct {
  struct fuse_out_header head;
  char body[1 << 20];
} out __attribute__((aligned(4096)));

static void attributes(struct fuse_attr *a, uint64_t node) {
  memset(a, 0, sizeof *a);
  a->ino = node;
  a->nlink = 1;
  a->mode = node < 100 ? S_IFDIR | 0755 : S_IFREG | 0644;
  a->size = node < 100 ? 0 : 256 << 20;
  a->blksize = 4096;
}

/* The length of the answer's body; negative: an errno. */
static int answer_to(const struct fuse_in_header *h, const void *body) {
  void *o = out.body;
  switch (h->opcode) {
  case FUSE_INIT: {
    const struct fuse_init_in *i = body;
    struct fuse_init_out r = {.major = 7, .minor = FUSE_KERNEL_MINOR_VERSION, .max_readahead = 131072, .max_write = 1 << 20, .max_pages = 256, .max_background = 64};
    if (i->minor < r.minor) r.minor = i->minor;
    r.flags = i->flags & (FUSE_MAX_PAGES | FUSE_ASYNC_DIO | FUSE_BIG_WRITES | FUSE_ASYNC_READ | FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT);
    memcpy(o, &r, sizeof r);
    return sizeof r;
  }
  case FUSE_LOOKUP: {
    struct fuse_entry_out *e = o;
    const char *name = body;
    memset(e, 0, sizeof *e);
    e->nodeid = name[0] == 'f' ? 100 + (uint64_t)atoi(name + 1) : 2;
    e->entry_valid = e->attr_valid = 86400;
    attributes(&e->attr, e->nodeid);
    return sizeof *e;
  }
  case FUSE_GETATTR: {
    struct fuse_attr_out *a = o;
    memset(a, 0, sizeof *a);
    a->attr_valid = 86400;
    attributes(&a->attr, h->nodeid);
    return sizeof *a;
  }
  case FUSE_READ: return (int)((const struct fuse_read_in *)body)->size;
  case FUSE_DESTROY: return 0;
  default: return -ENOSYS;
  }
}

int main(int argc, char **argv) {
  if (argc != 4) usage("floor DIR spin|block held|asleep");
  char options[128];
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | (strcmp(argv[2], "spin") ? 0 : O_NONBLOCK)), zero = 0;
  if (fd < 0) die("open", "/dev/fuse");
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fd);
  if (mount("floor", argv[1], "fuse.floor", MS_NODEV | MS_NOSUID, options)) die("mount", argv[1]);
  if (!strcmp(argv[3], "held")) {
    int hold = open("/dev/cpu_dma_latency", O_WRONLY);
    if (hold < 0 || write(hold, &zero, sizeof zero) != sizeof zero) die("hold", "/dev/cpu_dma_latency");
  }
  for (;;) {
    ssize_t n = read(fd, in, sizeof in);
    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOENT)) continue;
    if (n < 0) return 0;
    const struct fuse_in_header *h = (void *)in;
    if (h->opcode == FUSE_FORGET || h->opcode == FUSE_BATCH_FORGET) continue;
    int length = answer_to(h, h + 1);
    out.head.error = length < 0 ? length : 0;
    out.head.len = (uint32_t)sizeof out.head + (length < 0 ? 0 : (uint32_t)length);
    out.head.unique = h->unique;
    if (write(fd, &out, out.head.len) < 0 && errno != ENOENT) die("write", "/dev/fuse");
  }
}

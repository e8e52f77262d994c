/* Random 4 KiB O_DIRECT reads from FILE with DEPTH of them under way (libaio's system calls), COUNT in all, no block twice: nobody's
 * cache can help. The caller drops the caches before. */
#include "load.h"
#include <linux/aio_abi.h>
#include <sys/syscall.h>

int main(int argc, char **argv) {
  if (argc != 4) usage("readdisk FILE COUNT DEPTH");
  const size_t block = 4096;
  uint64_t count = strtoull(argv[2], NULL, 10);
  int depth = atoi(argv[3]), fd = open(argv[1], O_RDONLY | O_DIRECT);
  if (fd < 0) die("open", argv[1]);
  struct stat st;
  if (fstat(fd, &st)) die("fstat", argv[1]);
  uint32_t blocks = (uint32_t)((uint64_t)st.st_size / block), *order = shuffled(blocks, 11);
  if (count > blocks) count = blocks;
  aio_context_t ring = 0;
  if (syscall(SYS_io_setup, depth, &ring)) die("io_setup", argv[3]);
  struct iocb *requests = calloc((size_t)depth, sizeof *requests);
  struct io_event *events = calloc((size_t)depth, sizeof *events);
  char *into = aligned(block * (size_t)depth);
  uint64_t sent = 0, done = 0, start = now_ns();
  for (int i = 0; i < depth; i++) {
    requests[i].aio_fildes = (uint32_t)fd;
    requests[i].aio_lio_opcode = IOCB_CMD_PREAD;
    requests[i].aio_buf = (uint64_t)(uintptr_t)(into + block * (size_t)i);
    requests[i].aio_nbytes = block;
  }
  struct iocb *one;
  for (int i = 0; i < depth && sent < count; i++) {
    one = &requests[i];
    one->aio_offset = (int64_t)((uint64_t)order[sent++] * block);
    if (syscall(SYS_io_submit, ring, 1, &one) != 1) die("io_submit", argv[1]);
  }
  while (done < count) {
    long n = syscall(SYS_io_getevents, ring, 1, depth, events, NULL);
    if (n < 1) die("io_getevents", argv[1]);
    for (long i = 0; i < n; i++) {
      if (events[i].res != (int64_t)block) errno = events[i].res < 0 ? (int)-events[i].res : EIO, die("read", argv[1]);
      done++;
      if (sent == count) continue;
      one = (struct iocb *)(uintptr_t)events[i].obj;
      one->aio_offset = (int64_t)((uint64_t)order[sent++] * block);
      if (syscall(SYS_io_submit, ring, 1, &one) != 1) die("io_submit", argv[1]);
    }
  }
  answer(count, now_ns() - start);
}

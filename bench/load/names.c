/* What happens to names: COUNT times one call on DIR/n0 ... : create (open O_CREAT|O_EXCL, close), create4k (and one write of 4 KiB),
 * mkdir, rename (n -> m), unlink, rmdir. unlink and rename need names that create made before. */
#include "load.h"

int main(int argc, char **argv) {
  if (argc != 4) usage("names create|create4k|mkdir|rename|unlink|rmdir DIR COUNT");
  const char *mode = argv[1];
  int count = atoi(argv[3]), create = !strncmp(mode, "create", 6), write4k = !strcmp(mode, "create4k");
  if (chdir(argv[2])) die("chdir", argv[2]);
  char *block = aligned(4096), name[32], to[32];
  noise(block, 4096, 1);
  uint64_t start = now_ns();
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof name, "n%d", i);
    if (create) {
      int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
      if (fd < 0) die("create", name);
      if (write4k && write(fd, block, 4096) != 4096) die("write", name);
      if (close(fd)) die("close", name);
    } else if (!strcmp(mode, "mkdir")) {
      if (mkdir(name, 0755)) die("mkdir", name);
    } else if (!strcmp(mode, "rename")) {
      snprintf(to, sizeof to, "m%d", i);
      if (rename(name, to)) die("rename", name);
    } else if (!strcmp(mode, "unlink")) {
      if (unlink(name)) die("unlink", name);
    } else if (rmdir(name)) die("rmdir", name);
  }
  answer((uint64_t)count, now_ns() - start);
}

/* open, read 4 KiB, close, COUNT times, over DIR/f0 ... f(FILES-1) in random order. */
#include "load.h"

int main(int argc, char **argv) {
  if (argc != 4) usage("openread DIR FILES COUNT");
  uint32_t files = (uint32_t)atoi(argv[2]);
  uint64_t count = strtoull(argv[3], NULL, 10), seed = 7;
  if (chdir(argv[1])) die("chdir", argv[1]);
  char name[32], block[4096];
  uint64_t start = 0;
  for (int pass = 0; pass < 2; pass++) { /* the first pass fills the caches */
    start = now_ns();
    for (uint64_t i = 0; i < (pass ? count : files); i++) {
      snprintf(name, sizeof name, "f%u", (unsigned)(pass ? chance(&seed) % files : i));
      int fd = open(name, O_RDONLY);
      if (fd < 0) die("open", name);
      if (read(fd, block, sizeof block) != sizeof block) die("read", name);
      close(fd);
    }
  }
  answer(count, now_ns() - start);
}

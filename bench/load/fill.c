/* Makes what other programs read: one file of MIB mebibytes of noise, or COUNT files f0 ... of BYTES each in DIR. Synced when it returns. */
#include "load.h"

static void fill(int fd, const char *name, uint64_t bytes, uint64_t seed) {
  static char *block;
  const size_t size = 1 << 20;
  if (!block) block = aligned(size);
  for (uint64_t at = 0; at < bytes;) {
    size_t n = bytes - at < size ? (size_t)(bytes - at) : size;
    noise(block, (n + 7) & ~(size_t)7, seed + at);
    if (write(fd, block, n) != (ssize_t)n) die("write", name);
    at += n;
  }
}

int main(int argc, char **argv) {
  uint64_t start = now_ns();
  if (argc == 4 && !strcmp(argv[1], "file")) {
    int fd = open(argv[2], O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0) die("open", argv[2]);
    uint64_t mib = strtoull(argv[3], NULL, 10);
    fill(fd, argv[2], mib << 20, 1);
    if (fsync(fd)) die("fsync", argv[2]);
    answer(mib, now_ns() - start);
  } else if (argc == 5 && !strcmp(argv[1], "files")) {
    uint64_t count = strtoull(argv[3], NULL, 10), bytes = strtoull(argv[4], NULL, 10);
    if (chdir(argv[2])) die("chdir", argv[2]);
    char name[32];
    for (uint64_t i = 0; i < count; i++) {
      snprintf(name, sizeof name, "f%llu", (unsigned long long)i);
      int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
      if (fd < 0) die("open", name);
      fill(fd, name, bytes, i * 1000003);
      if (close(fd)) die("close", name);
    }
    int here = open(".", O_RDONLY | O_DIRECTORY);
    if (here < 0 || fsync(here)) die("fsync", argv[2]);
    answer(count, now_ns() - start);
  } else usage("fill file PATH MIB | fill files DIR COUNT BYTES");
}

/* One file from end to end in pieces of 1 MiB: write (MIB of them, then fsync), read, or mmap (every page touched). ops are mebibytes. */
#include "load.h"

int main(int argc, char **argv) {
  if (argc < 3) usage("stream write FILE MIB | stream read FILE | stream mmap FILE");
  const char *mode = argv[1], *path = argv[2];
  char *block = aligned(1 << 20);
  noise(block, 1 << 20, 5);
  int write_it = !strcmp(mode, "write"), fd = open(path, write_it ? O_CREAT | O_TRUNC | O_WRONLY : O_RDONLY, 0644);
  if (fd < 0) die("open", path);
  uint64_t start = now_ns(), ops = 0;
  if (write_it) {
    for (uint64_t mib = strtoull(argv[3], NULL, 10); ops < mib; ops++) {
      block[0] = (char)ops;
      if (write(fd, block, 1 << 20) != 1 << 20) die("write", path);
    }
    if (fsync(fd)) die("fsync", path);
  } else if (!strcmp(mode, "read")) {
    ssize_t n;
    uint64_t bytes = 0;
    while ((n = read(fd, block, 1 << 20)) > 0) bytes += (uint64_t)n;
    if (n < 0) die("read", path);
    ops = bytes >> 20;
  } else {
    struct stat st;
    if (fstat(fd, &st)) die("fstat", path);
    const volatile char *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) die("mmap", path);
    uint64_t sum = 0;
    for (off_t i = 0; i < st.st_size; i += 64) sum += (uint64_t)at[i];
    ops = (uint64_t)st.st_size >> 20;
    if (sum == 1) fputs("", stderr); /* the sum is used */
  }
  answer(ops, now_ns() - start);
}

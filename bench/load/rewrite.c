/* COUNT buffered writes of 4 KiB at random aligned places of FILE, then one fsync; the time has both in it. */
#include "load.h"

int main(int argc, char **argv) {
  if (argc != 4) usage("rewrite FILE COUNT SEED");
  uint64_t count = strtoull(argv[2], NULL, 10), seed = strtoull(argv[3], NULL, 10);
  int fd = open(argv[1], O_WRONLY);
  if (fd < 0) die("open", argv[1]);
  struct stat st;
  if (fstat(fd, &st)) die("fstat", argv[1]);
  uint64_t blocks = (uint64_t)st.st_size / 4096;
  char *block = aligned(4096);
  noise(block, 4096, seed);
  uint64_t start = now_ns();
  for (uint64_t i = 0; i < count; i++)
    if (pwrite(fd, block, 4096, (off_t)(chance(&seed) % blocks * 4096)) != 4096) die("pwrite", argv[1]);
  if (fsync(fd)) die("fsync", argv[1]);
  answer(count, now_ns() - start);
}

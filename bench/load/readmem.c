/* Random O_DIRECT reads of BLOCK bytes from FILE, COUNT per job, JOBS processes at once: what a request costs when the bytes are in
 * memory on the other side. Reads the file through once first, so that they are. */
#include "load.h"

static void reads(const char *path, size_t block, uint64_t count, uint64_t seed) {
  int fd = open(path, O_RDONLY | O_DIRECT);
  if (fd < 0) die("open", path);
  struct stat st;
  if (fstat(fd, &st)) die("fstat", path);
  uint64_t blocks = (uint64_t)st.st_size / block;
  char *into = aligned(block);
  for (uint64_t i = 0; i < count; i++)
    if (pread(fd, into, block, (off_t)(chance(&seed) % blocks * block)) != (ssize_t)block) die("pread", path);
}

int main(int argc, char **argv) {
  if (argc != 5) usage("readmem FILE BLOCK COUNT JOBS");
  size_t block = strtoull(argv[2], NULL, 10);
  uint64_t count = strtoull(argv[3], NULL, 10);
  int jobs = atoi(argv[4]), fd = open(argv[1], O_RDONLY | O_DIRECT);
  if (fd < 0) die("open", argv[1]);
  char *into = aligned(1 << 20);
  ssize_t n;
  while ((n = read(fd, into, 1 << 20)) > 0) continue;
  if (n < 0) die("read", argv[1]);
  uint64_t start = now_ns();
  for (int j = 0; j < jobs; j++)
    if (fork() == 0) {
      reads(argv[1], block, count, 1000u * (unsigned)j + 5);
      _exit(0);
    }
  join(jobs);
  answer(count * (uint64_t)jobs, now_ns() - start);
}

/* As a training job's loader reads images: JOBS processes share DIR/f0 ... f(FILES-1) in random order, each file read whole. */
#include "load.h"

int main(int argc, char **argv) {
  if (argc != 5) usage("loader DIR FILES JOBS SEED");
  uint32_t files = (uint32_t)atoi(argv[2]), jobs = (uint32_t)atoi(argv[3]), *order = shuffled(files, strtoull(argv[4], NULL, 10));
  if (chdir(argv[1])) die("chdir", argv[1]);
  uint64_t start = now_ns();
  for (uint32_t j = 0; j < jobs; j++)
    if (fork() == 0) {
      char name[32], *into = aligned(256 << 10);
      for (uint32_t i = j; i < files; i += jobs) {
        snprintf(name, sizeof name, "f%u", order[i]);
        int fd = open(name, O_RDONLY);
        if (fd < 0) die("open", name);
        struct stat st;
        if (fstat(fd, &st)) die("fstat", name);
        ssize_t n;
        off_t bytes = 0;
        while ((n = read(fd, into, 256 << 10)) > 0) bytes += n;
        if (n < 0 || bytes != st.st_size) die("read", name);
        close(fd);
      }
      _exit(0);
    }
  join((int)jobs);
  answer(files, now_ns() - start);
}

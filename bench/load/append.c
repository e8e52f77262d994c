/* 4 KiB appended to FILE and fsync, each pair timed, COUNT times. With STREAM and MIB a child writes that many mebibytes into STREAM
 * meanwhile (1 MiB a write, buffered), and the appends go on until it is done. */
#include "load.h"

static void stream(const char *path, uint64_t mib) {
  int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
  if (fd < 0) die("open", path);
  char *block = aligned(1 << 20);
  noise(block, 1 << 20, 3);
  for (uint64_t i = 0; i < mib; i++)
    if (write(fd, block, 1 << 20) != 1 << 20) die("write", path);
  if (close(fd)) die("close", path);
}

int main(int argc, char **argv) {
  if (argc != 3 && argc != 5) usage("append FILE COUNT [STREAM MIB]");
  uint64_t count = strtoull(argv[2], NULL, 10), limit = argc == 5 ? 200000 : count, ops = 0;
  int fd = open(argv[1], O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0644);
  if (fd < 0) die("open", argv[1]);
  char *block = aligned(4096);
  noise(block, 4096, 9);
  uint64_t *times = aligned(limit * sizeof *times);
  if (argc == 5 && fork() == 0) {
    stream(argv[3], strtoull(argv[4], NULL, 10));
    _exit(0);
  }
  int streaming = argc == 5;
  uint64_t start = now_ns(), last = start;
  while (ops < limit && (streaming || ops < count)) {
    if (write(fd, block, 4096) != 4096) die("write", argv[1]);
    if (fsync(fd)) die("fsync", argv[1]);
    uint64_t t = now_ns();
    times[ops++] = t - last;
    last = t;
    int status;
    if (streaming && waitpid(-1, &status, WNOHANG) > 0) {
      if (status) return 1;
      streaming = 0;
      count = ops; /* what comes after the stream is not beside it */
    }
  }
  if (streaming) join(1);
  answer_times(times, ops, last - start);
}

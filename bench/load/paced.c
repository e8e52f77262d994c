/* statx of DIR/f0 ... f(FILES-1), asking the file system each time: RATE a second for MS milliseconds, evenly. */
#include "load.h"

int main(int argc, char **argv) {
  if (argc != 5) usage("paced DIR FILES RATE MS");
  uint32_t files = (uint32_t)atoi(argv[2]);
  uint64_t rate = strtoull(argv[3], NULL, 10), gap = 1000000000u / rate, count = rate * strtoull(argv[4], NULL, 10) / 1000, seed = 7, sum = 0;
  if (chdir(argv[1])) die("chdir", argv[1]);
  uint64_t *times = aligned((count + 1) * sizeof *times), start = now_ns();
  char name[32];
  struct statx st;
  for (uint64_t i = 0; i < count; i++) {
    uint64_t due = start + i * gap;
    struct timespec at = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    snprintf(name, sizeof name, "f%u", (unsigned)(chance(&seed) % files));
    uint64_t asked = now_ns();
    if (statx(AT_FDCWD, name, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st)) die("statx", name);
    sum += times[i] = now_ns() - asked;
  }
  answer_times(times, count, sum);
}

/* statx COUNT times on DIR/f0 ... f(FILES-1) in random order: sync asks the file system each time (AT_STATX_FORCE_SYNC), cached lets
 * the kernel answer. MS instead of a COUNT ("2000ms") goes on for that long: for the worst of 100 beside other work. */
#include "load.h"

int main(int argc, char **argv) {
  if (argc != 5) usage("stat sync|cached DIR FILES COUNT|MSms");
  int flags = strcmp(argv[1], "sync") ? 0 : AT_STATX_FORCE_SYNC;
  uint32_t files = (uint32_t)atoi(argv[3]);
  uint64_t count = strtoull(argv[4], NULL, 10), limit = UINT64_MAX;
  if (strstr(argv[4], "ms")) limit = count * 1000000u, count = 5000000;
  if (chdir(argv[2])) die("chdir", argv[2]);
  char name[32];
  struct statx st;
  for (uint32_t i = 0; i < files; i++) { /* names in the kernel's cache first */
    snprintf(name, sizeof name, "f%u", i);
    if (statx(AT_FDCWD, name, 0, STATX_BASIC_STATS, &st)) die("statx", name);
  }
  uint64_t *times = aligned(count * sizeof *times), seed = 7, start = now_ns(), last = start, ops = 0;
  while (ops < count && last - start < limit) {
    snprintf(name, sizeof name, "f%u", (unsigned)(chance(&seed) % files));
    if (statx(AT_FDCWD, name, flags, STATX_BASIC_STATS, &st)) die("statx", name);
    uint64_t t = now_ns();
    times[ops++] = t - last;
    last = t;
  }
  answer_times(times, ops, last - start);
}

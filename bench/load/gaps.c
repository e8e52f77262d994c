/* Looks at the clock for so many seconds and does nothing else: the machine's own gaps. gaps SECONDS
 * ops: gaps longer than 50 us; ns: how long they were together; p99Ns: the longest. Run one for each core. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv) {
  const double forNs = (argc > 1 ? atof(argv[1]) : 3) * 1e9, began = now();
  double last = began, lost = 0, longest = 0;
  long gaps = 0;
  while (last - began < forNs) {
    const double at = now(), gap = at - last;
    last = at;
    if (gap < 50e3) continue;
    gaps++;
    lost += gap;
    if (gap > longest) longest = gap;
  }
  printf("{\"ops\":%ld,\"ns\":%.0f,\"p99Ns\":%.0f}\n", gaps, lost, longest);
  return 0;
}

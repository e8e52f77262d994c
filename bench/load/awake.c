/* Keeps the cores from sleeping deeply until it is killed: what a busy machine does for everybody. */
#include "load.h"

int main(void) {
  int fd = open("/dev/cpu_dma_latency", O_WRONLY), zero = 0;
  if (fd < 0 || write(fd, &zero, sizeof zero) != sizeof zero) die("hold", "/dev/cpu_dma_latency");
  puts("{\"ops\":1,\"ns\":0}");
  fflush(stdout);
  pause();
}

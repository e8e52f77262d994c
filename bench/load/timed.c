/* How long another program runs, from fork to exit, in nanoseconds; its output goes to /dev/null, its failure is ours. */
#include "load.h"

int main(int argc, char **argv) {
  if (argc < 2) usage("timed PROGRAM ARGUMENT...");
  uint64_t start = now_ns();
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    execvp(argv[1], argv + 1);
    die("exec", argv[1]);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) < 0) die("wait", argv[1]);
  uint64_t ns = now_ns() - start;
  if (!WIFEXITED(status) || WEXITSTATUS(status) > 1) return 1; /* grep says 1 when it found nothing */
  if (WEXITSTATUS(status) == 1 && !strstr(argv[1], "grep")) return 1;
  answer(1, ns);
}

/* The names of DIR: all (readdir and fstatat of each, as ls -l does), names (readdir only), first N names of it. */
#include "load.h"
#include <dirent.h>

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4) usage("listing stat|names DIR [FIRST]");
  int want_stat = !strcmp(argv[1], "stat");
  uint64_t limit = argc == 4 ? strtoull(argv[3], NULL, 10) : UINT64_MAX, ops = 0, start = now_ns();
  DIR *dir = opendir(argv[2]);
  if (!dir) die("opendir", argv[2]);
  struct dirent *entry;
  struct stat st;
  errno = 0;
  while (ops < limit && (entry = readdir(dir))) {
    if (entry->d_name[0] == '.') continue;
    if (want_stat && fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) die("fstatat", entry->d_name);
    ops++;
  }
  if (errno) die("readdir", argv[2]);
  answer(ops, now_ns() - start);
}

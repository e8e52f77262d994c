/* What all load generators share: a clock, chance from a seed, one way to fail, one line of JSON as the answer.
 * The answer is {"ops":N,"ns":T} and, where single operations were timed, "p50Ns" and "p99Ns". */
#ifndef LOAD_H
#define LOAD_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void die(const char *what, const char *on) {
  fprintf(stderr, "%s %s: %s\n", what, on, strerror(errno));
  exit(1);
}

static inline void usage(const char *words) {
  fprintf(stderr, "usage: %s\n", words);
  exit(2);
}

/* splitmix64: the same seed gives the same work on every file system. */
static inline uint64_t chance(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* 0 .. n-1 in random order. */
static inline uint32_t *shuffled(uint32_t n, uint64_t seed) {
  uint32_t *order = malloc((n ? n : 1) * sizeof *order);
  for (uint32_t i = 0; i < n; i++) order[i] = i;
  for (uint32_t i = n; i > 1; i--) {
    uint32_t j = (uint32_t)(chance(&seed) % i), was = order[i - 1];
    order[i - 1] = order[j];
    order[j] = was;
  }
  return order;
}

static inline void *aligned(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) die("mmap", "memory");
  return p;
}

/* Bytes that do not compress and differ from place to place. */
static inline void noise(void *at, size_t bytes, uint64_t seed) {
  uint64_t *words = at;
  for (size_t i = 0; i < bytes / 8; i++) words[i] = chance(&seed);
}

static inline void answer(uint64_t ops, uint64_t ns) { printf("{\"ops\":%llu,\"ns\":%llu}\n", (unsigned long long)ops, (unsigned long long)ns); }

static int by_size(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

/* Sorts the single times in place. */
static inline void answer_times(uint64_t *times, uint64_t ops, uint64_t ns) {
  qsort(times, ops, sizeof *times, by_size);
  printf("{\"ops\":%llu,\"ns\":%llu,\"p50Ns\":%llu,\"p99Ns\":%llu}\n", (unsigned long long)ops, (unsigned long long)ns,
         (unsigned long long)times[ops / 2], (unsigned long long)times[ops - 1 - ops / 100]);
}

/* Waits for the children; 0 if all were well. */
static inline void join(int children) {
  for (int i = 0; i < children; i++) {
    int status;
    if (wait(&status) < 0 || status != 0) exit(1);
  }
}
#endif

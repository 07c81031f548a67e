/* A wall clock that is wrong: CLOCK_SHIFT seconds off, or standing still where CLOCK_FROZEN is set. The monotonic clock
   stays right, as on a machine whose administrator sets the time. Waits until a moment of the wrong clock last as long
   as on a right one, which is what a kernel's would do; libfaketime does not know cnd_timedwait, with which librdkafka
   waits, and would make each of its waits an hour longer or none. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

static void right(struct timespec *now) {
  static int (*clock)(clockid_t, struct timespec *);
  if (!clock) clock = dlsym(RTLD_NEXT, "clock_gettime");
  clock(CLOCK_REALTIME, now);
}

static void wrong(struct timespec *now) {
  const char *shift = getenv("CLOCK_SHIFT"), *frozen = getenv("CLOCK_FROZEN");
  right(now);
  if (shift) now->tv_sec += atol(shift);
  if (frozen) { now->tv_sec = atol(frozen); now->tv_nsec = 0; }
}

int clock_gettime(clockid_t id, struct timespec *now) {
  static int (*clock)(clockid_t, struct timespec *);
  if (!clock) clock = dlsym(RTLD_NEXT, "clock_gettime");
  if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) return clock(id, now);
  wrong(now);
  return 0;
}

int timespec_get(struct timespec *now, int base) { wrong(now); return base; }

int gettimeofday(struct timeval *now, void *zone) {
  struct timespec wanted;
  (void)zone;
  wrong(&wanted);
  now->tv_sec = wanted.tv_sec;
  now->tv_usec = wanted.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *now) {
  struct timespec wanted;
  wrong(&wanted);
  if (now) *now = wanted.tv_sec;
  return wanted.tv_sec;
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
  static int (*wait)(cnd_t *, mtx_t *, const struct timespec *);
  struct timespec here, there, meant;
  if (!wait) wait = dlsym(RTLD_NEXT, "cnd_timedwait");
  right(&here);
  wrong(&there);
  meant.tv_sec = until->tv_sec - there.tv_sec + here.tv_sec;
  meant.tv_nsec = until->tv_nsec - there.tv_nsec + here.tv_nsec;
  while (meant.tv_nsec < 0) { meant.tv_nsec += 1000000000; meant.tv_sec--; }
  while (meant.tv_nsec >= 1000000000) { meant.tv_nsec -= 1000000000; meant.tv_sec++; }
  return wait(condition, mutex, &meant);
}

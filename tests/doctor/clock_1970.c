/* The wall clock of a machine that has none: it began at 1970-01-01 00:01 when the program did. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    static time_t ahead;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (clock == CLOCK_REALTIME && result == 0) {
        if (!ahead)
            ahead = time->tv_sec - 60;
        time->tv_sec -= ahead;
    }
    return result;
}

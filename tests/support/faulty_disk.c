/* A disk that fails on order, between a program and libc (LD_PRELOAD).
 *
 * Touches only what is done with files whose path has `hearthlink.db` in it, and the resolution of names. Reads
 * its orders from the file `FAULTY_DISK`, which is mapped, so that a test can change its mind while the program
 * runs; `disk.rs` has the same list of fields.
 *
 * A power cut is more than a `kill -9`: what was written and not yet synced may be gone, write by write, whatever
 * the order. So each such write's old bytes are remembered until the file is synced; at the cut half of the last
 * write is made, a coin is tossed for every other, and the process is killed. Not played: a torn sector inside of
 * what was synced (no disk does that), and the order of directory entries.
 *
 * A program calls `pwrite` or `pwrite64`, `ftruncate` or `ftruncate64`, as it was compiled. On 64 bits they are the
 * same; on 32 bits the plain ones take a shorter offset. All are taken over, and what is behind them has 64 bits
 * always. _FILE_OFFSET_BITS=64, which some compilers set by themselves, would make one name of the two.
 */
#undef _FILE_OFFSET_BITS
#undef _TIME_BITS
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_FILES 4096
#define MOST_UNSYNCED 65536

struct orders {
    uint32_t refuse_writes;  /* an errno for every write and truncation */
    uint32_t refuse_syncs;   /* an errno for every fsync */
    uint32_t refuse_opens;   /* an errno for every opening that would write */
    uint32_t sync_millis;    /* how long every fsync takes */
    uint32_t hang_syncs;     /* fsync does not return while this is set */
    uint32_t cut_at;         /* the power is cut at the n-th write or fsync from now */
    uint32_t seed;           /* of the coin */
    uint32_t hang_names;     /* getaddrinfo does not return while this is set */
    uint32_t full_at;        /* the n-th write from now finds the disk full, and so does every one behind it */
    /* What has happened, for the test. */
    uint32_t writes, syncs, refused, unsynced_lost, names_hung;
};

/* COPY: what is kept of the store when it is brought up to date, also while it is being written. */
enum kind { OTHER, MAIN, LOG, COPY };

/* What a write that is not synced yet has replaced. */
struct undo {
    int fd;
    off64_t offset;
    size_t length, old_length;
    unsigned char *old;
};

static volatile struct orders *orders;
static unsigned char kinds[MOST_FILES];
static struct undo undos[MOST_UNSYNCED];
static size_t undo_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_pread)(int, void *, size_t, off64_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_fsync)(int);
static int (*real_ftruncate)(int, off64_t);
static int (*real_getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_getaddrinfo = dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("FAULTY_DISK");
    int file = path ? real_open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) abort();
    orders = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (orders == MAP_FAILED) abort();
    real_close(file);
}

static enum kind kind_of(int fd) {
    return fd >= 0 && fd < MOST_FILES ? kinds[fd] : OTHER;
}

static int refuse(uint32_t error) {
    __sync_fetch_and_add(&orders->refused, 1);
    errno = (int)error;
    return -1;
}

static void forget(int fd) {
    size_t kept = 0;
    for (size_t i = 0; i < undo_count; i++) {
        if (undos[i].fd == fd) free(undos[i].old);
        else undos[kept++] = undos[i];
    }
    undo_count = kept;
}

static void remember(int fd, size_t length, off64_t offset) {
    if (undo_count == MOST_UNSYNCED) abort();
    struct undo *undo = &undos[undo_count++];
    *undo = (struct undo){ .fd = fd, .offset = offset, .length = length, .old = calloc(1, length) };
    ssize_t old = real_pread(fd, undo->old, length, offset);
    undo->old_length = old < 0 ? 0 : (size_t)old;
}

static void cut_power(void) {
    unsigned seed = orders->seed;
    /* Backwards, so that what lies below a write comes back, too. */
    while (undo_count > 0) {
        struct undo *undo = &undos[--undo_count];
        if (rand_r(&seed) % 2) continue;
        /* Beyond the old end the file keeps its length and has zeros: its size was in the file system's journal. */
        real_pwrite(undo->fd, undo->old, undo->length, undo->offset);
        __sync_fetch_and_add(&orders->unsynced_lost, 1);
    }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether the power is cut at this step. */
static int is_the_last_step(void) {
    return orders->cut_at != 0 && __sync_sub_and_fetch(&orders->cut_at, 1) == 0;
}

/* Whether this write finds the disk full; from then on all do. */
static int is_full(void) {
    if (orders->full_at == 0 || __sync_sub_and_fetch(&orders->full_at, 1) != 0) return 0;
    orders->refuse_writes = ENOSPC;
    return 1;
}

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < MOST_FILES) {
        const char *name = path ? strstr(path, "hearthlink.db") : NULL;
        kinds[fd] = OTHER;
        if (name && strcmp(name, "hearthlink.db") == 0) kinds[fd] = MAIN;
        if (name && strcmp(name, "hearthlink.db-wal") == 0) kinds[fd] = LOG;
        if (name && strncmp(name, "hearthlink.db.copying", 21) == 0) kinds[fd] = COPY;
    }
    return fd;
}

static int is_refused(const char *path, int flags) {
    return orders && orders->refuse_opens && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && strstr(path, "hearthlink.db");
}

#define OPEN(name)                                                      \
    int name(const char *path, int flags, ...) {                        \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;       \
        va_end(rest);                                                   \
        if (is_refused(path, flags)) return refuse(orders->refuse_opens); \
        if (!real_open) real_open = dlsym(RTLD_NEXT, "open64");         \
        return opened(real_open(path, flags, mode), path);              \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    if (kind_of(fd) != OTHER) {
        pthread_mutex_lock(&lock);
        /* The kernel writes it some time; for a cut it is as good as synced. */
        forget(fd);
        kinds[fd] = OTHER;
        pthread_mutex_unlock(&lock);
    }
    if (!real_close) real_close = dlsym(RTLD_NEXT, "close");
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    if (kind_of(fd) == OTHER) return real_pwrite(fd, bytes, length, offset);
    if (orders->refuse_writes || is_full()) return refuse(orders->refuse_writes);
    pthread_mutex_lock(&lock);
    if (is_the_last_step()) {
        real_pwrite(fd, bytes, length / 2, offset);
        cut_power();
    }
    remember(fd, length, offset);
    ssize_t done = real_pwrite(fd, bytes, length, offset);
    pthread_mutex_unlock(&lock);
    __sync_fetch_and_add(&orders->writes, 1);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return pwrite64(fd, bytes, length, offset);
}

int fsync(int fd) {
    if (kind_of(fd) == OTHER) return real_fsync(fd);
    while (orders->hang_syncs) usleep(5000);
    if (orders->sync_millis) usleep(orders->sync_millis * 1000);
    if (orders->refuse_syncs) return refuse(orders->refuse_syncs);
    pthread_mutex_lock(&lock);
    if (is_the_last_step()) cut_power();
    forget(fd);
    pthread_mutex_unlock(&lock);
    __sync_fetch_and_add(&orders->syncs, 1);
    return real_fsync(fd);
}

int fdatasync(int fd) {
    return fsync(fd);
}

int ftruncate64(int fd, off64_t length) {
    if (kind_of(fd) != OTHER && orders->refuse_writes) return refuse(orders->refuse_writes);
    return real_ftruncate(fd, length);
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    if (orders->hang_names) __sync_fetch_and_add(&orders->names_hung, 1);
    while (orders->hang_names) usleep(5000);
    return real_getaddrinfo(name, service, hints, found);
}

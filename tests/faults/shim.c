// SPDX-License-Identifier: Apache-2.0
//
// A library to preload (LD_PRELOAD) into the real program, which is not changed for it: counts the calls by which a
// process leaves a mark outside of itself, and at the one that it is told kills the process or lets the call fail.
// Counting every such call is how "killed at every stage" is meant: between two of them nothing can be told apart
// from outside.
//
//   FAULT_IN=WORD        only in processes that have this argument
//   FAULT_CALLS=a,b      which kinds to count: make pin link map file data net (see the table below)
//   FAULT_PATH=TEXT      of kinds file and data, only calls on a path with this text
//   FAULT_LOG=FILE       write down each call that is counted
//   FAULT_KILL=N         SIGKILL to itself before the Nth
//   FAULT_FAIL=N:E:M     calls N up to M fail with errno E
//   FAULT_CLOCK=FILE     two 64-bit numbers, nanoseconds to add to the wall clock and to the monotonic ones; mapped, so
//                        that a test can turn the clocks while the process runs

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static atomic_long counted;
static long kill_at, fail_from, fail_to;
static int fail_errno, log_fd = -1, armed;
static const char *kinds, *path_part;
static const volatile int64_t *shift;

#define NEXT(name) ((__typeof__(&name))next(#name))

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

static int has_argument(const char *word)
{
    char text[8192];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    long size = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    close(fd);
    text[size > 0 ? size : 0] = 0;
    for (char *at = text; at < text + size; at += strlen(at) + 1)
        if (!strcmp(at, word))
            return 1;
    return 0;
}

__attribute__((constructor)) static void arm(void)
{
    const char *clock = getenv("FAULT_CLOCK"), *in = getenv("FAULT_IN"), *log = getenv("FAULT_LOG");
    const char *kill_text = getenv("FAULT_KILL"), *fail_text = getenv("FAULT_FAIL");
    if (in && !has_argument(in))
        return;
    if (clock) {
        int fd = open(clock, O_RDONLY | O_CLOEXEC);
        void *memory = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
        if (memory != MAP_FAILED)
            shift = memory;
        close(fd);
    }
    kinds = getenv("FAULT_CALLS");
    path_part = getenv("FAULT_PATH");
    kill_at = kill_text ? atol(kill_text) : 0;
    if (fail_text && sscanf(fail_text, "%ld:%d:%ld", &fail_from, &fail_errno, &fail_to) != 3)
        abort();
    if (log)
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    armed = kinds != NULL;
}

// Gives whether the call must fail; errno is set then.
static int stage(const char *kind, const char *what)
{
    if (!armed || !strstr(kinds, kind))
        return 0;
    long number = atomic_fetch_add(&counted, 1) + 1;
    if (log_fd >= 0)
        dprintf(log_fd, "%ld %s %s\n", number, kind, what);
    if (number == kill_at)
        kill(getpid(), SIGKILL);
    if (fail_from && number >= fail_from && number <= fail_to) {
        errno = fail_errno;
        return 1;
    }
    return 0;
}

static int on_path(const char *kind, const char *call, const char *path)
{
    char text[512];
    if (!armed || (path_part && !strstr(path, path_part)))
        return 0;
    snprintf(text, sizeof(text), "%s %s", call, path);
    return stage(kind, text);
}

static int on_fd(const char *call, int fd)
{
    char link[64], path[512];
    struct stat there;
    if (!armed || fd == log_fd || fstat(fd, &there) || !S_ISREG(there.st_mode))
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    long size = readlink(link, path, sizeof(path) - 1);
    path[size > 0 ? size : 0] = 0;
    return on_path("data", call, path);
}

// --- bpf(2) ---

long syscall(long number, ...)
{
    static const struct {
        const char *kind, *name;
    } commands[] = {
        [0] = {"make", "map"},        [2] = {"map", "update"},     [3] = {"map", "delete"},
        [5] = {"make", "program"},    [6] = {"pin", "pin"},        [28] = {"link", "attach"},
        [29] = {"link", "swap"},      [34] = {"link", "detach"},
    };
    long a[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    unsigned command = (unsigned)a[0];
    if (number == SYS_bpf && command < sizeof(commands) / sizeof(commands[0]) && commands[command].kind)
        if (stage(commands[command].kind, commands[command].name))
            return -1;
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// --- names of files ---

int rename(const char *from, const char *to)
{
    return on_path("file", "rename", to) ? -1 : NEXT(rename)(from, to);
}

int renameat(int a, const char *from, int b, const char *to)
{
    return on_path("file", "rename", to) ? -1 : NEXT(renameat)(a, from, b, to);
}

int unlink(const char *path)
{
    return on_path("file", "unlink", path) ? -1 : NEXT(unlink)(path);
}

int unlinkat(int at, const char *path, int flags)
{
    return on_path("file", "unlink", path) ? -1 : NEXT(unlinkat)(at, path, flags);
}

int rmdir(const char *path)
{
    return on_path("file", "rmdir", path) ? -1 : NEXT(rmdir)(path);
}

int mkdir(const char *path, mode_t mode)
{
    return on_path("file", "mkdir", path) ? -1 : NEXT(mkdir)(path, mode);
}

int chmod(const char *path, mode_t mode)
{
    return on_path("file", "chmod", path) ? -1 : NEXT(chmod)(path, mode);
}

// --- their contents ---

ssize_t write(int fd, const void *data, size_t size)
{
    return on_fd("write", fd) ? -1 : NEXT(write)(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return on_fd("write", fd) ? -1 : NEXT(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return on_fd("write", fd) ? -1 : NEXT(pwrite64)(fd, data, size, at);
}

int ftruncate(int fd, off_t size)
{
    return on_fd("truncate", fd) ? -1 : NEXT(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return on_fd("truncate", fd) ? -1 : NEXT(ftruncate64)(fd, size);
}

int fsync(int fd)
{
    return on_fd("sync", fd) ? -1 : NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
    return on_fd("sync", fd) ? -1 : NEXT(fdatasync)(fd);
}

// --- netlink ---

static int on_netlink(int fd)
{
    int domain = 0;
    socklen_t size = sizeof(domain);
    if (!armed || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != AF_NETLINK)
        return 0;
    return stage("net", "send");
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length)
{
    return on_netlink(fd) ? -1 : NEXT(sendto)(fd, data, size, flags, to, length);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    return on_netlink(fd) ? -1 : NEXT(send)(fd, data, size, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return on_netlink(fd) ? -1 : NEXT(sendmsg)(fd, message, flags);
}

// --- clocks ---

int clock_gettime(clockid_t which, struct timespec *now)
{
    int result = NEXT(clock_gettime)(which, now);
    int of_wall = which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE;
    int of_boot = which == CLOCK_MONOTONIC || which == CLOCK_MONOTONIC_RAW || which == CLOCK_BOOTTIME;
    if (result || !shift || !(of_wall || of_boot))
        return result;
    int64_t ns = now->tv_sec * INT64_C(1000000000) + now->tv_nsec + shift[of_wall ? 0 : 1];
    now->tv_sec = ns / 1000000000;
    now->tv_nsec = ns % 1000000000;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec fine;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &fine))
        return -1;
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec fine;
    if (clock_gettime(CLOCK_REALTIME, &fine))
        return -1;
    if (now)
        *now = fine.tv_sec;
    return fine.tv_sec;
}

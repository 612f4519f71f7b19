/* Preloaded: fails one call of one function once, as a disk that cannot write back does.
   FAIL_CALL: fsync, syncfs or pwritev. FAIL_NTH: which call of it, from 1. FAIL_PATH: only calls for
   a file whose path has this in it. FAIL_ERRNO: what it says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(const char *call, int fd) {
    static int n;
    const char *path = getenv("FAIL_PATH");
    char link[64], name[4096];
    if (strcmp(call, getenv("FAIL_CALL")) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) return 0;
    name[length] = 0;
    if (path && !strstr(name, path)) return 0;
    if (__sync_add_and_fetch(&n, 1) != atoi(getenv("FAIL_NTH"))) return 0;
    errno = atoi(getenv("FAIL_ERRNO"));
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { return fails("fsync", fd) ? -1 : REAL(fsync)(fd); }
int syncfs(int fd) { return fails("syncfs", fd) ? -1 : REAL(syncfs)(fd); }

ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at) {
    return fails("pwritev", fd) ? -1 : REAL(pwritev64)(fd, v, n, at);
}
ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off64_t at, int flags) {
    return fails("pwritev", fd) ? -1 : REAL(pwritev64v2)(fd, v, n, at, flags);
}

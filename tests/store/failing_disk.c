/* Preloaded: while the file named by FAIL_WHEN exists, its first letter says what fails.
   f: fsync and fdatasync, with EIO.  s: writes at a place in a file, for lack of space.
   r: these writes, and opening a file of a store for writing: the disk is read-only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

typedef int opening(const char *, int, ...);

static int really_open(const char *path, int flags, mode_t mode) {
    static opening *real;
    if (!real) real = (opening *)dlsym(RTLD_NEXT, "open64");
    return real(path, flags, mode);
}

static int fails(char how) {
    const char *name = getenv("FAIL_WHEN");
    char letter = 0;
    int fd = name ? really_open(name, O_RDONLY, 0) : -1;
    if (fd < 0) return 0;
    if (read(fd, &letter, 1) != 1) letter = 0;
    close(fd);
    return letter == how;
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    if ((flags & O_ACCMODE) != O_RDONLY && strstr(path, "store.db") && fails('r')) {
        errno = EROFS;
        return -1;
    }
    return really_open(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open64(path, flags, mode);
}

int fdatasync(int fd) {
    (void)fd;
    if (fails('f')) { errno = EIO; return -1; }
    return 0;
}

int fsync(int fd) { return fdatasync(fd); }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (fails('s')) { errno = ENOSPC; return -1; }
    if (fails('r')) { errno = EROFS; return -1; }
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

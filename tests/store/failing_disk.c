/* Preloaded: while the file named by FAIL_WHEN exists, its first letter says what fails.
   f: fsync and fdatasync, with EIO.  s: writes at a place in a file, for lack of space. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(char how) {
    const char *name = getenv("FAIL_WHEN");
    char letter = 0;
    int fd = name ? open(name, O_RDONLY) : -1;
    if (fd < 0) return 0;
    if (read(fd, &letter, 1) != 1) letter = 0;
    close(fd);
    return letter == how;
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
    if (!real) real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return real(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

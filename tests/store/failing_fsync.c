/* Preloaded: fsync and fdatasync fail once the file named by FAIL_WHEN exists. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int fails(void) {
    const char *name = getenv("FAIL_WHEN");
    return name && access(name, F_OK) == 0;
}

int fdatasync(int fd) {
    (void)fd;
    if (fails()) { errno = EIO; return -1; }
    return 0;
}

int fsync(int fd) { return fdatasync(fd); }

/* Faults in the system calls that change what lies below one folder, for LD_PRELOAD.
 *
 * Every call that changes a file or a folder below FOLDER gets a number, from 1. What happens at
 * number AT depends on MODE:
 *
 *     0  nothing, calls are only counted and recorded
 *     1  SIGKILL before it
 *     2  SIGKILL in the middle of it: half of a write, half the way to another length; before it
 *        where it has no middle
 *     3  SIGKILL after it
 *     4  from it on the disk is full; the first write still gets half of its bytes down
 *     5  it alone fails with EIO
 *     6  signal number ARG is sent to this process before it
 *
 * Armed by fault_arm(), or by FAULT_FOLDER, FAULT_MODE, FAULT_AT, FAULT_ARG and FAULT_LOG in the
 * environment. Each call that succeeded is appended to the log with its bytes, in the order in
 * which the calls took place; fault_disk.py reads it. '!' is a call that was refused, with the error
 * as its offset, '/' one that is about to be cut. What is seen and cannot be followed (a shared
 * writable mapping of a named file, copies inside the kernel) is recorded as '?'.
 *
 *     cc -O2 -shared -fPIC -pthread -o fault_shim.so fault_shim.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum mode { RECORD, KILL_BEFORE, KILL_INSIDE, KILL_AFTER, FULL, FAILING, SIGNAL };
enum verdict { PASS, CUT, REFUSED };

/* one changing call: what the log keeps of it */
struct change {
    char op;
    char path[PATH_MAX];
    char second[PATH_MAX];
    int64_t at;
    const void *data;
    size_t size;
    long number;
    int takes_space;
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static int armed, mode, signal_number, log_fd = -1;
static long fault_at, counted;

void fault_arm(const char *below, int what, long at, int argument, int log)
{
    snprintf(folder, sizeof folder, "%s", below);
    folder_length = strlen(folder);
    mode = what;
    fault_at = at;
    signal_number = argument;
    log_fd = log;
    counted = 0;
    armed = 1;
}

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *below = getenv("FAULT_FOLDER"), *log = getenv("FAULT_LOG");
    if (!below || !log)
        return;
    int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    /* out of the way of numbers that the program may expect */
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 700);
    syscall(SYS_close, fd);
    const char *what = getenv("FAULT_MODE"), *at = getenv("FAULT_AT"), *arg = getenv("FAULT_ARG");
    fault_arm(below, what ? atoi(what) : 0, at ? atol(at) : 0, arg ? atoi(arg) : 0, high);
}

/* ---- which calls concern us ---- */

static int is_below(const char *path)
{
    return strncmp(path, folder, folder_length) == 0 && path[folder_length] == '/';
}

static int of_descriptor(int fd, char *path)
{
    char link[48];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_below(path) || strcmp(path, folder) == 0;
}

static int of_name(int at, const char *name, char *path)
{
    char base[PATH_MAX / 2];
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return is_below(path);
    }
    if (at == AT_FDCWD) {
        if (!getcwd(base, sizeof base))
            return 0;
    } else {
        char link[48];
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0)
            return 0;
        base[length] = 0;
    }
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    snprintf(path, PATH_MAX, "%s/%.2000s", base, name);
    return is_below(path);
}

static int exists(const char *path)
{
    struct stat found;
    return lstat(path, &found) == 0;
}

/* ---- the log ---- */

static void put(const void *data, size_t size)
{
    const char *from = data;
    while (size) {
        ssize_t done = syscall(SYS_write, log_fd, from, size);
        if (done <= 0)
            return;
        from += done;
        size -= done;
    }
}

static void record(const struct change *c, char op)
{
    if (log_fd < 0)
        return;
    struct {
        int64_t number, at, size;
        uint16_t first, second;
        char op, padding[3];
    } head = {c->number, c->at, c->data ? (int64_t)c->size : 0,
              strlen(c->path), strlen(c->second), op, {0}};
    put(&head, sizeof head);
    put(c->path, head.first);
    put(c->second, head.second);
    if (head.size)
        put(c->data, c->size);
}

/* ---- the faults ---- */

static _Noreturn void die(void)
{
    for (;;)
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

static int refuse(struct change *c, int code)
{
    c->at = code;
    c->data = NULL;
    record(c, '!');
    errno = code;
    return REFUSED;
}

/* Between begin() and end() no other changing call of this process takes place. */
static int begin(struct change *c)
{
    pthread_mutex_lock(&order);
    c->number = ++counted;
    int here = c->number == fault_at;
    if (mode == FULL && c->number >= fault_at && c->takes_space)
        return here && c->op == 'w' && c->size > 1 ? CUT : refuse(c, ENOSPC);
    if (!here)
        return PASS;
    if (mode == KILL_BEFORE)
        die();
    if (mode == FAILING)
        return refuse(c, EIO);
    if (mode == SIGNAL)
        syscall(SYS_kill, syscall(SYS_getpid), signal_number);
    if (mode != KILL_INSIDE)
        return PASS;
    if (c->op != 'w' && c->op != 't' && c->op != 'a')
        die();
    record(c, '/');
    return CUT;
}

static void end(struct change *c, int done)
{
    int code = errno;
    if (done)
        record(c, c->op);
    if (mode == KILL_AFTER && c->number == fault_at)
        die();
    pthread_mutex_unlock(&order);
    errno = code;
}

static int give_up(void)
{
    int code = errno;
    pthread_mutex_unlock(&order);
    errno = code;
    return -1;
}

/* ---- writing ---- */

static ssize_t really_write(int fd, const void *data, size_t size, int64_t at)
{
    return at < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, at);
}

static ssize_t changing_write(int fd, const void *data, size_t size, int64_t at)
{
    struct change c = {.op = 'w', .data = data, .size = size, .takes_space = 1};
    if (!armed || fd == log_fd || !of_descriptor(fd, c.path))
        return really_write(fd, data, size, at);
    c.at = at >= 0 ? at : lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    int verdict = begin(&c);
    if (verdict == REFUSED)
        return give_up();
    if (verdict == CUT)
        c.size = size / 2;
    ssize_t done = really_write(fd, data, c.size, at);
    if (verdict == CUT && mode == KILL_INSIDE)
        die();
    if (done > 0)
        c.size = done;
    end(&c, done > 0);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    return changing_write(fd, data, size, -1);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return changing_write(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return changing_write(fd, data, size, at);
}

static ssize_t gathered(int fd, const struct iovec *parts, int count, int64_t at)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    char *joined = malloc(size ? size : 1), *to = joined;
    for (int i = 0; i < count; to += parts[i++].iov_len)
        memcpy(to, parts[i].iov_base, parts[i].iov_len);
    ssize_t done = changing_write(fd, joined, size, at);
    free(joined);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return gathered(fd, parts, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return gathered(fd, parts, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    return gathered(fd, parts, count, at);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    (void)flags;
    return gathered(fd, parts, count, at);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags)
{
    (void)flags;
    return gathered(fd, parts, count, at);
}

/* ---- lengths and syncs ---- */

static int changing_length(char op, int fd, int64_t length)
{
    struct change c = {.op = op, .at = length, .takes_space = op == 'a'};
    long number = op == 'a' ? SYS_fallocate : SYS_ftruncate;
    if (!armed || !of_descriptor(fd, c.path))
        return op == 'a' ? syscall(number, fd, 0, 0L, length) : syscall(number, fd, length);
    int verdict = begin(&c);
    if (verdict == REFUSED)
        return give_up();
    if (verdict == CUT) {
        struct stat found;
        fstat(fd, &found);
        c.at = (found.st_size + length) / 2;
    }
    int failed = op == 'a' ? syscall(number, fd, 0, 0L, c.at) : syscall(number, fd, c.at);
    if (verdict == CUT)
        die();
    end(&c, !failed);
    return failed;
}

int ftruncate(int fd, off_t length) { return changing_length('t', fd, length); }
int ftruncate64(int fd, off64_t length) { return changing_length('t', fd, length); }

/* answers an error number, as the C library's does */
int posix_fallocate(int fd, off_t from, off_t size)
{
    int before = errno;
    int code = changing_length('a', fd, from + size) ? errno : 0;
    errno = before;
    return code;
}

int posix_fallocate64(int fd, off64_t from, off64_t size) { return posix_fallocate(fd, from, size); }

static int changing_sync(char op, int fd)
{
    struct change c = {.op = op};
    long number = op == 's' ? SYS_fsync : SYS_fdatasync;
    if (!armed || !of_descriptor(fd, c.path))
        return syscall(number, fd);
    if (begin(&c) == REFUSED)
        return give_up();
    int failed = syscall(number, fd);
    end(&c, !failed);
    return failed;
}

int fsync(int fd) { return changing_sync('s', fd); }
int fdatasync(int fd) { return changing_sync('d', fd); }

/* ---- names ---- */

int openat(int at, const char *name, int flags, ...)
{
    struct change c = {.op = 'c', .takes_space = 1};
    mode_t rights = 0;
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {
        va_list more;
        va_start(more, flags);
        rights = va_arg(more, mode_t);
        va_end(more);
    }
    if (!armed || !of_name(at, name, c.path))
        return syscall(SYS_openat, at, name, flags, rights);
    int nameless = (flags & O_TMPFILE) == O_TMPFILE, there = exists(c.path);
    if (nameless)
        c.op = 'o';
    else if (there && flags & O_TRUNC && (flags & O_ACCMODE) != O_RDONLY)
        c.op = 'z';
    else if (there || !(flags & O_CREAT))
        return syscall(SYS_openat, at, name, flags, rights);
    if (begin(&c) == REFUSED)
        return give_up();
    int fd = syscall(SYS_openat, at, name, flags, rights);
    end(&c, fd >= 0);
    return fd;
}

static mode_t rights_in(int flags, va_list more)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0;
}

#define OPEN(function, prefix, parameter)                          \
    int function(prefix const char *name, int flags, ...)          \
    {                                                              \
        va_list more;                                              \
        va_start(more, flags);                                     \
        mode_t rights = rights_in(flags, more);                    \
        va_end(more);                                              \
        return openat(parameter, name, flags, rights);             \
    }
#define NOTHING
OPEN(open, NOTHING, AT_FDCWD)
OPEN(open64, NOTHING, AT_FDCWD)
#define FOLDER_AND int at,
OPEN(openat64, FOLDER_AND, at)

int creat(const char *name, mode_t rights)
{
    return openat(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, rights);
}

int mkdirat(int at, const char *name, mode_t rights)
{
    struct change c = {.op = 'm', .takes_space = 1};
    if (!armed || !of_name(at, name, c.path) || exists(c.path))
        return syscall(SYS_mkdirat, at, name, rights);
    if (begin(&c) == REFUSED)
        return give_up();
    int failed = syscall(SYS_mkdirat, at, name, rights);
    end(&c, !failed);
    return failed;
}

int mkdir(const char *name, mode_t rights) { return mkdirat(AT_FDCWD, name, rights); }

int unlinkat(int at, const char *name, int flags)
{
    struct change c = {.op = flags & AT_REMOVEDIR ? 'x' : 'u'};
    if (!armed || !of_name(at, name, c.path) || !exists(c.path))
        return syscall(SYS_unlinkat, at, name, flags);
    if (begin(&c) == REFUSED)
        return give_up();
    int failed = syscall(SYS_unlinkat, at, name, flags);
    end(&c, !failed);
    return failed;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    struct change c = {.op = flags ? '?' : 'r'};
    int source = armed && of_name(from_at, from, c.path);
    int target = armed && of_name(to_at, to, c.second);
    if (!(source || target) || !exists(c.path))
        return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (begin(&c) == REFUSED)
        return give_up();
    int failed = syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    end(&c, !failed);
    return failed;
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    return renameat2(from_at, from, to_at, to, 0);
}

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    struct change c = {.op = 'l', .takes_space = 1};
    if (!armed || !of_name(to_at, to, c.second))
        return syscall(SYS_linkat, from_at, from, to_at, to, flags);
    of_name(from_at, from, c.path);
    if (begin(&c) == REFUSED)
        return give_up();
    int failed = syscall(SYS_linkat, from_at, from, to_at, to, flags);
    end(&c, !failed);
    return failed;
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

/* ---- seen, but not followed ---- */

static void note_unfollowed(int fd, const char *what)
{
    struct change c = {.op = '?'};
    size_t length;
    if (!armed || !of_descriptor(fd, c.path))
        return;
    length = strlen(c.path);
    /* a file without a name is gone with its process, whatever is in it */
    if (length > 10 && strcmp(c.path + length - 10, " (deleted)") == 0)
        return;
    snprintf(c.second, sizeof c.second, "%s", what);
    pthread_mutex_lock(&order);
    record(&c, '?');
    pthread_mutex_unlock(&order);
}

void *mmap(void *where, size_t size, int protection, int flags, int fd, off_t at)
{
    if (fd >= 0 && flags & MAP_SHARED && protection & PROT_WRITE)
        note_unfollowed(fd, "mmap");
    return (void *)syscall(SYS_mmap, where, size, protection, flags, fd, at);
}

void *mmap64(void *where, size_t size, int protection, int flags, int fd, off64_t at)
{
    return mmap(where, size, protection, flags, fd, at);
}

ssize_t sendfile(int to, int from, off_t *at, size_t size)
{
    note_unfollowed(to, "sendfile");
    return syscall(SYS_sendfile, to, from, at, size);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t size)
{
    return sendfile(to, from, at, size);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size,
                        unsigned flags)
{
    note_unfollowed(to, "copy_file_range");
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
}

int fallocate(int fd, int how, off_t from, off_t size)
{
    note_unfollowed(fd, "fallocate");
    return syscall(SYS_fallocate, fd, how, from, size);
}

int fallocate64(int fd, int how, off64_t from, off64_t size)
{
    return fallocate(fd, how, from, size);
}

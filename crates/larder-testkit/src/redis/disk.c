/* Loaded into a redis-server: a disk that tells what of each file it has. Beside a file that is synced stands FILE.synced, with the
 * length that the file had when the last sync of it began that has ended. While the file named by LARDER_DISK_BUSY is there, no
 * sync ends. Nothing is really synced: the machine is not going to die. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int sync_noted(int fd) {
  struct stat begun;
  char link[64], path[PATH_MAX], length[32];
  if (fstat(fd, &begun) != 0) return -1;
  const char *busy = getenv("LARDER_DISK_BUSY");
  while (busy != NULL && access(busy, F_OK) == 0) usleep(1000);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t end = readlink(link, path, sizeof path - sizeof ".synced");
  if (end < 0 || !S_ISREG(begun.st_mode)) return 0;
  snprintf(path + end, sizeof ".synced", ".synced");
  int note = open(path, O_WRONLY | O_CREAT, 0600);
  if (note < 0) return -1;
  /* Always as many bytes, in one call: whoever reads it finds a whole number. */
  int bytes = snprintf(length, sizeof length, "%020lld", (long long)begun.st_size);
  ssize_t written = pwrite(note, length, bytes, 0);
  close(note);
  return written == bytes ? 0 : -1;
}

int fsync(int fd) { return sync_noted(fd); }
int fdatasync(int fd) { return sync_noted(fd); }

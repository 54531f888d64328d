// File.cpp: see File.h. Files are read with pread, not mapped: a mapped file that shrinks kills the
// process, and its pages would count as the program's memory.
#include "core/File.h"

#include "core/Error.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace galvatron_rt {

std::string systemMessage(const std::string &path) {
  int code = errno;
  return concat("file '", path, "': ", std::strerror(code));
}

std::string directoryOf(const std::string &path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos)
    return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool isSameFile(const std::string &a, const std::string &b) {
  struct stat first, second;
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

std::string baseName(const std::string &path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

File &File::operator=(File &&other) noexcept {
  if (this != &other) {
    close();
    path_ = std::move(other.path_);
    fd = other.fd;
    other.fd = -1;
  }
  return *this;
}

File File::openToRead(const std::string &path) {
  File file;
  file.path_ = path;
  file.fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file.fd < 0)
    fail(systemMessage(path));
  struct stat info;
  if (fstat(file.fd, &info))
    fail(systemMessage(path));
  if (!S_ISREG(info.st_mode))
    fail("file '", path, "': not a regular file");
  return file;
}

File File::createNew(const std::string &path) {
  File file;
  file.path_ = path;
  file.fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file.fd < 0)
    fail(systemMessage(path));
  return file;
}

int64_t File::size() const {
  struct stat info;
  if (fstat(fd, &info))
    fail(systemMessage(path_));
  return info.st_size;
}

void File::readAt(int64_t offset, void *data, int64_t bytes) const {
  char *to = static_cast<char *>(data);
  while (bytes > 0) {
    ssize_t got = pread(fd, to, static_cast<size_t>(bytes), offset);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      fail(systemMessage(path_));
    if (got == 0)
      fail("file '", path_, "' ends at byte ", offset, ", ", bytes, " more were wanted");
    to += got;
    offset += got;
    bytes -= got;
  }
}

void File::write(const void *data, int64_t bytes) {
  const char *from = static_cast<const char *>(data);
  while (bytes > 0) {
    ssize_t put = ::write(fd, from, static_cast<size_t>(bytes));
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      fail(systemMessage(path_));
    from += put;
    bytes -= put;
  }
}

void File::writeAt(int64_t offset, const void *data, int64_t bytes) {
  const char *from = static_cast<const char *>(data);
  while (bytes > 0) {
    ssize_t put = pwrite(fd, from, static_cast<size_t>(bytes), offset);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      fail(systemMessage(path_));
    from += put;
    offset += put;
    bytes -= put;
  }
}

void File::sync() {
  if (fsync(fd))
    fail(systemMessage(path_));
}

void File::close() {
  if (fd >= 0)
    ::close(fd);
  fd = -1;
}

} // namespace galvatron_rt

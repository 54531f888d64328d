// File.h: a file descriptor with an owner, and reads and writes that either do all they were asked
// or say why not.
#ifndef GALVATRON_RT_CORE_FILE_H
#define GALVATRON_RT_CORE_FILE_H

#include <cstdint>
#include <string>

namespace galvatron_rt {

class File {
public:
  File() = default;
  ~File() { close(); }
  File(File &&other) noexcept : path_(std::move(other.path_)), fd(other.fd) { other.fd = -1; }
  File &operator=(File &&other) noexcept;

  /// Errors name the file and the system's reason.
  static File openToRead(const std::string &path);
  static File createNew(const std::string &path);

  int64_t size() const;
  /// Reads exactly `bytes` at `offset`; a file that ends before is an Error.
  void readAt(int64_t offset, void *data, int64_t bytes) const;
  /// Writes at the end of what was written.
  void write(const void *data, int64_t bytes);
  void writeAt(int64_t offset, const void *data, int64_t bytes);
  void sync();
  void close();
  const std::string &path() const { return path_; }

private:
  std::string path_;
  int fd = -1;
};

/// "file 'a/b': No such file or directory", for errno.
std::string systemMessage(const std::string &path);

/// Directory part of a path: "." if there is none.
std::string directoryOf(const std::string &path);

/// Part after the last slash.
std::string baseName(const std::string &path);

/// Whether both paths lead to one file that exists.
bool isSameFile(const std::string &a, const std::string &b);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_FILE_H

// SafeTensorsWriter.cpp: a temporary file in the same directory, synced, then renamed: a full disk
// or a dying machine leaves the old file or the new one, never half of one.
#include "checkpoint/SafeTensors.h"
#include "core/Error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

namespace galvatron_rt {

SafeTensorsWriter::SafeTensorsWriter(const std::string &path, const std::vector<Entry> &entries)
    : path(path) {
  // A link stays one: what it names is replaced.
  if (char *target = realpath(path.c_str(), nullptr)) {
    this->path = target;
    std::free(target);
  }
  setTemporary();
  // Better now than after the last step.
  if (access(directoryOf(this->path).c_str(), W_OK))
    fail(systemMessage(path));
  struct stat there;
  if (stat(this->path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    fail("file '", path, "': not a regular file");
  nlohmann::ordered_json json;
  // transformers asks for this key before it reads a file.
  json["__metadata__"] = {{"format", "pt"}};
  int64_t offset = 0;
  for (const Entry &entry : entries) {
    int64_t bytes = fileDtypeBytes(entry.dtype);
    for (int64_t dim : entry.shape)
      bytes = checkedMultiply(bytes, dim, "a saved tensor");
    json[entry.name] = {{"dtype", fileDtypeName(entry.dtype)},
                        {"shape", entry.shape},
                        {"data_offsets", {offset, offset + bytes}}};
    begins.push_back(offset);
    offset += bytes;
  }
  begins.push_back(offset);
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' '); // data starts aligned
  uint64_t length = text.size();
  for (int i = 0; i < 8; ++i)
    header += static_cast<char>(length >> (8 * i) & 0xff);
  header += text;
  for (int64_t &begin : begins)
    begin += static_cast<int64_t>(header.size());
}

SafeTensorsWriter::~SafeTensorsWriter() {
  if (open)
    unlink(temporary.c_str());
}

void SafeTensorsWriter::setTemporary() { temporary = concat(path, partialSuffix, getpid()); }

void SafeTensorsWriter::setPath(const std::string &next) {
  path = next;
  setTemporary();
}

void SafeTensorsWriter::begin() {
  file = File::createNew(temporary);
  open = true;
  file.write(header.data(), static_cast<int64_t>(header.size()));
  position = static_cast<int64_t>(header.size());
}

void SafeTensorsWriter::write(const void *data, int64_t bytes) {
  file.write(data, bytes);
  position += bytes;
}

void SafeTensorsWriter::writeAt(size_t entry, int64_t offset, const void *data, int64_t bytes) {
  file.writeAt(begins[entry] + offset, data, bytes);
  position = std::max(position, begins[entry] + offset + bytes);
}

void SafeTensorsWriter::commit() {
  if (position != begins.back())
    fail("file '", path, "': only ", position, " of ", begins.back(), " bytes were written");
  file.sync();
  file.close();
  if (std::rename(temporary.c_str(), path.c_str()))
    fail(systemMessage(path));
  open = false;
  // The new name is on the disk once the directory is. Not every file system can; the data is safe
  // either way.
  int directory = ::open(directoryOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    fsync(directory);
    ::close(directory);
  }
}

} // namespace galvatron_rt

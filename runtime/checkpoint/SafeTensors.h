// SafeTensors.h: reading and writing safetensors files.
//
// A file is: u64 length of the header, the header (JSON: name to dtype, shape and byte range), the
// data.
#ifndef GALVATRON_RT_CHECKPOINT_SAFETENSORS_H
#define GALVATRON_RT_CHECKPOINT_SAFETENSORS_H

#include "core/File.h"

#include <map>
#include <string>
#include <vector>

namespace galvatron_rt {

enum class FileDtype { F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool };

/// "F32"; and the size of one element.
const char *fileDtypeName(FileDtype dtype);
int64_t fileDtypeBytes(FileDtype dtype);

/// The file dtype of a GALVATRON_RT_ dtype.
FileDtype fileDtype(int64_t dtype);

class SafeTensorsReader {
public:
  struct Entry {
    FileDtype dtype;
    std::vector<int64_t> shape;
    int64_t begin, end; // bytes, from the start of the file
  };

  /// Reads and checks the header; an Error names the file and what is wrong with it.
  explicit SafeTensorsReader(const std::string &path);

  const std::map<std::string, Entry> &entries() const { return table; }
  const std::string &path() const { return file.path(); }
  /// Bytes [offset, offset + bytes) of an entry's data.
  void read(const Entry &entry, int64_t offset, void *data, int64_t bytes) const;

private:
  File file;
  std::map<std::string, Entry> table;
};

/// Writes a file in one go, in the order given to the constructor. The file appears under its name
/// only when it is complete and on the disk; until then, and if anything fails, what was there
/// stays.
/// Between a file's name and the number of the process that has not written all of it yet.
constexpr char partialSuffix[] = ".partial-";

class SafeTensorsWriter {
public:
  struct Entry {
    std::string name;
    FileDtype dtype;
    std::vector<int64_t> shape;
  };

  /// Lays the file out, and checks that its directory can be written to. Everything that allocates
  /// happens here.
  SafeTensorsWriter(const std::string &path, const std::vector<Entry> &entries);
  ~SafeTensorsWriter();
  SafeTensorsWriter(const SafeTensorsWriter &) = delete;
  SafeTensorsWriter &operator=(const SafeTensorsWriter &) = delete;

  /// The next file is this one, of the same folder and with the same entries.
  void setPath(const std::string &path);
  /// Creates the temporary file beside the final one and writes the header.
  void begin();
  /// The next bytes of data; entries follow each other without a gap.
  void write(const void *data, int64_t bytes);
  /// Like write, but anywhere in the data of an entry (for pieces that come in another order).
  void writeAt(size_t entry, int64_t offset, const void *data, int64_t bytes);
  /// Returns when what was written is on the disk.
  void sync() { file.sync(); }
  /// Makes the file permanent.
  void commit();

private:
  void setTemporary();

  std::string path, temporary, header;
  std::vector<int64_t> begins; // of each entry's data in the file, then the file's size
  int64_t position = 0;
  File file;
  bool open = false;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_SAFETENSORS_H

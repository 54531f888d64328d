// Npy.cpp: see Npy.h. The header is a Python dictionary in a fixed order of keys or not; a small
// reader takes exactly what numpy.save writes.
#include "data/Npy.h"

#include "core/Image.h"

#include <cctype>
#include <cstring>

namespace galvatron_rt {
namespace {

struct Header {
  std::string descr;
  bool fortran = false;
  std::vector<int64_t> shape;
};

class HeaderReader {
public:
  HeaderReader(const std::string &text, const std::string &path) : text(text), path(path) {}

  Header read() {
    Header header;
    bool hasDescr = false, hasOrder = false, hasShape = false;
    expect('{');
    while (!accept('}')) {
      std::string key = quoted();
      expect(':');
      if (key == "descr") {
        header.descr = quoted();
        hasDescr = true;
      } else if (key == "fortran_order") {
        header.fortran = boolean();
        hasOrder = true;
      } else if (key == "shape") {
        header.shape = tuple();
        hasShape = true;
      } else {
        bad(concat("has the unknown key '", key, "'"));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!hasDescr || !hasOrder || !hasShape)
      bad("lacks 'descr', 'fortran_order' or 'shape'");
    return header;
  }

private:
  [[noreturn]] void bad(const std::string &why) {
    fail("file '", path, "': its .npy header ", why);
  }
  void skipSpace() {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])))
      ++at;
  }
  bool accept(char c) {
    skipSpace();
    if (at >= text.size() || text[at] != c)
      return false;
    ++at;
    return true;
  }
  void expect(char c) {
    if (!accept(c))
      bad(concat("lacks a '", c, "' at character ", at));
  }
  std::string quoted() {
    skipSpace();
    if (at >= text.size() || (text[at] != '\'' && text[at] != '"'))
      bad(concat("has something other than a simple dtype or key at character ", at));
    char quote = text[at++];
    size_t end = text.find(quote, at);
    if (end == std::string::npos)
      bad("has a string without an end");
    std::string value = text.substr(at, end - at);
    at = end + 1;
    return value;
  }
  bool boolean() {
    skipSpace();
    for (bool value : {false, true}) {
      const char *word = value ? "True" : "False";
      if (text.compare(at, std::strlen(word), word) == 0) {
        at += std::strlen(word);
        return value;
      }
    }
    bad("has a fortran_order that is neither True nor False");
  }
  std::vector<int64_t> tuple() {
    std::vector<int64_t> values;
    expect('(');
    while (!accept(')')) {
      skipSpace();
      int64_t value = 0;
      size_t begin = at;
      while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at]))) {
        if (__builtin_mul_overflow(value, int64_t(10), &value) ||
            __builtin_add_overflow(value, int64_t(text[at] - '0'), &value))
          bad("has a dimension that is too large");
        ++at;
      }
      if (begin == at)
        bad("has a shape that is no tuple of numbers");
      values.push_back(value);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return values;
  }

  const std::string &text;
  const std::string &path;
  size_t at = 0;
};

const char *wantedDescr(int64_t dtype) {
  switch (static_cast<galvatron_rt_dtype>(dtype)) {
  case GALVATRON_RT_F32:
    return "<f4 (float32)";
  case GALVATRON_RT_I64:
    return "<i8 or <i4 (int64 or int32)";
  case GALVATRON_RT_I1:
    return "|b1 (bool)";
  }
  return "";
}

/// Bytes of an element in the file, 0 if the dtype does not fit.
int64_t fileBytes(int64_t dtype, const std::string &descr) {
  switch (static_cast<galvatron_rt_dtype>(dtype)) {
  case GALVATRON_RT_F32:
    return descr == "<f4" ? 4 : 0;
  case GALVATRON_RT_I64:
    return descr == "<i8" ? 8 : descr == "<i4" ? 4 : 0;
  case GALVATRON_RT_I1:
    return descr == "|b1" ? 1 : 0;
  }
  return 0;
}

} // namespace

NpyFile::NpyFile(const std::string &path, int64_t dtype, const std::vector<int64_t> &wanted)
    : file(File::openToRead(path)) {
  int64_t size = file.size();
  unsigned char start[12] = {};
  if (size < 10)
    fail("file '", path, "': not an .npy file: it has ", size, " bytes");
  file.readAt(0, start, std::min<int64_t>(size, 12));
  if (std::memcmp(start, "\x93NUMPY", 6) != 0)
    fail("file '", path, "': not an .npy file: it does not begin with \\x93NUMPY");
  int version = start[6];
  if (version < 1 || version > 3)
    fail("file '", path, "': .npy format ", version, ".", int(start[7]),
         " is not known, wanted 1.0, 2.0 or 3.0");
  int64_t prefix = version == 1 ? 10 : 12;
  int64_t length = start[8] | start[9] << 8;
  if (version > 1)
    length |= int64_t(start[10]) << 16 | int64_t(start[11]) << 24;
  constexpr int64_t maxHeader = 1 << 20;
  if (length > maxHeader || prefix + length > size)
    fail("file '", path, "': its .npy header says ", length, " bytes, the file has ", size);
  std::string text(static_cast<size_t>(length), '\0');
  file.readAt(prefix, &text[0], length);
  Header header = HeaderReader(text, path).read();
  fileElementBytes = fileBytes(dtype, header.descr);
  if (!fileElementBytes)
    fail("file '", path, "': dtype is ", header.descr, ", wanted ", wantedDescr(dtype));
  if (header.fortran)
    fail("file '", path,
         "': the array is in fortran order, wanted C order (numpy.ascontiguousarray)");
  widen = dtype == GALVATRON_RT_I64 && fileElementBytes == 4;
  if (header.shape.empty() || header.shape[0] < 1 ||
      std::vector<int64_t>(header.shape.begin() + 1, header.shape.end()) != wanted) {
    std::string steps = "[steps";
    for (int64_t dim : wanted)
      steps += concat(", ", dim);
    fail("file '", path, "': shape is ", shapeText(header.shape), ", wanted ", steps,
         "] with at least one step");
  }
  recordCount = header.shape[0];
  for (int64_t dim : wanted)
    recordElements = checkedMultiply(recordElements, dim, "an .npy record");
  int64_t bytes = checkedMultiply(checkedMultiply(recordElements, recordCount, "an .npy file"),
                                  fileElementBytes, "an .npy file");
  dataOffset = prefix + length;
  if (size - dataOffset < bytes)
    fail("file '", path, "' is truncated: shape ", shapeText(header.shape), " needs ", bytes,
         " bytes of data, found ", size - dataOffset);
}

void NpyFile::read(int64_t record, void *data) const {
  int64_t offset = dataOffset + record * recordElements * fileElementBytes;
  if (!widen)
    return file.readAt(offset, data, recordElements * fileElementBytes);
  int32_t buffer[4096];
  int64_t *to = static_cast<int64_t *>(data);
  for (int64_t done = 0; done < recordElements;) {
    int64_t count = std::min<int64_t>(recordElements - done, 4096);
    file.readAt(offset + done * 4, buffer, count * 4);
    for (int64_t i = 0; i < count; ++i)
      to[done + i] = buffer[i];
    done += count;
  }
}

} // namespace galvatron_rt

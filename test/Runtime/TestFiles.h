// TestFiles.h: folders, .npy and safetensors files for tests, written byte by byte.
#ifndef GALVATRON_TEST_RUNTIME_TESTFILES_H
#define GALVATRON_TEST_RUNTIME_TESTFILES_H

#include "core/Error.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

/// A folder that is gone when the test is.
class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "galvatron-XXXXXX").string();
    path = mkdtemp(&pattern[0]);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string operator/(const std::string &name) const { return path + "/" + name; }
  std::string path;
};

/// What the Error says that `body` throws; "" if it throws none.
inline std::string errorOf(const std::function<void()> &body) {
  try {
    body();
  } catch (const galvatron_rt::Error &e) {
    return e.what();
  }
  return "";
}

inline void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

template <typename T> std::string bytesOf(const std::vector<T> &values) {
  return std::string(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
}

/// An .npy file with the given header text, format 1.0.
inline std::string npyBytes(const std::string &header, const std::string &data, char version = 1) {
  std::string text = header + "\n";
  std::string bytes = std::string("\x93NUMPY") + version + '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    bytes += static_cast<char>(text.size() >> (8 * i) & 0xff);
  return bytes + text + data;
}

template <typename T>
void writeNpy(const std::string &path, const std::string &descr, const std::string &shape,
              const std::vector<T> &data) {
  writeFile(path,
            npyBytes("{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }",
                     bytesOf(data)));
}

/// A safetensors file with the given header text.
inline std::string safetensorsBytes(const std::string &header, const std::string &data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i)
    bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return bytes + header + data;
}

#endif // GALVATRON_TEST_RUNTIME_TESTFILES_H

// Npy.h: NumPy's array files, as training data: the first dimension is the step.
#ifndef GALVATRON_RT_DATA_NPY_H
#define GALVATRON_RT_DATA_NPY_H

#include "core/File.h"

#include <vector>

namespace galvatron_rt {

class NpyFile {
public:
  /// Opens a file whose records (what follows the first dimension) have the dtype (GALVATRON_RT_)
  /// and shape. The formats 1.0, 2.0 and 3.0 are read; i64 takes 32-bit integers, too. An Error
  /// names the file, what was found and what was wanted.
  NpyFile(const std::string &path, int64_t dtype, const std::vector<int64_t> &shape);

  int64_t records() const { return recordCount; }
  const std::string &path() const { return file.path(); }
  /// Reads one record as the dtype into `data`.
  void read(int64_t record, void *data) const;

private:
  File file;
  int64_t dataOffset = 0, recordCount = 0, recordElements = 1, fileElementBytes = 0;
  bool widen = false; // i32 in the file, i64 wanted
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_DATA_NPY_H

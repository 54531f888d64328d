// Batches.h: a directory with one .npy file per input of the model, and labels.npy.
#ifndef GALVATRON_RT_DATA_BATCHES_H
#define GALVATRON_RT_DATA_BATCHES_H

#include "core/Context.h"
#include "data/Npy.h"

#include <vector>

namespace galvatron_rt {

class Batches {
public:
  /// Opens the file of every INPUT and LABELS tensor. Reports all that are wrong at once, a line
  /// each.
  Batches(const Image &image, const std::string &directory);

  /// Global batches in the directory, the same in each file; 1 if the model has no input.
  int64_t count() const { return batchCount; }
  /// Whether this path leads to one of the files.
  bool reads(const std::string &path) const;
  /// Reads batch `index` into the arena.
  void fill(galvatron_rt_context &context, int64_t index) const;

  /// Where the files have the integer `value` first in batch `index`: "'DIR/ids.npy' at [3, 2, 5], 'DIR/labels.npy' at [3, 0, 1]"; "" if
  /// nowhere.
  std::string placesOf(const Image &image, int64_t index, int64_t value) const;

  /// How many labels of batch `index` are not `ignored`; 1 if the program has no i64 labels.
  int64_t countedLabels(const Image &image, int64_t index, int64_t ignored) const;

private:
  struct Source {
    int64_t tensor;
    NpyFile file;
  };
  std::vector<Source> sources;
  int64_t batchCount = 1;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_DATA_BATCHES_H

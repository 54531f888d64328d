// Weights.h: between the arena's parameters and files, under the names and in the shapes of the
// original model.
#ifndef GALVATRON_RT_CHECKPOINT_WEIGHTS_H
#define GALVATRON_RT_CHECKPOINT_WEIGHTS_H

#include "checkpoint/SafeTensors.h"
#include "checkpoint/Views.h"
#include "core/Context.h"

#include <memory>

namespace galvatron_rt {

/// Which saved tensors a file must have.
enum class LoadScope {
  Everything, // the program's own weights file
  Parameters, // --load: constants may be missing
  Constants   // the rest of --load, from the program's own file; parameters are passed over
};

/// Fills parameters and constants from a safetensors file. A name may be any of a saved tensor's
/// names; two names of one tensor must hold the same values. f32 is read from F32, F16 and BF16.
/// All problems with names, shapes and dtypes are reported at once, a line each.
void loadWeights(galvatron_rt_context &context, const std::string &path, LoadScope scope);

/// Fills parameters and constants by the records' init kinds.
void randomWeights(galvatron_rt_context &context);

/// Whether some saved tensor is a constant.
bool hasConstants(const Image &image);

/// Writes parameters, or their gradients, as they are in the arena. Everything that allocates
/// happens in the constructor. Where ranks have pieces, those that share parameters with the first
/// rank call it together: each lays its pieces into a part of the file, the first writes what
/// they make together. None has more than such a part.
class WeightsSaver {
public:
  enum class Kind { Parameters, Gradients };

  WeightsSaver(galvatron_rt_context &context, const std::string &path, Kind kind);
  void save();

private:
  struct Part {
    ViewCursor cursor;
    const char *data; // NULL = zeros, or another rank has it
  };

  void addParts(const galvatron_rt_view_record &view, const void *data);
  void writeTensor(int64_t saved);
  void flush(bool isShared, int64_t bytes);

  galvatron_rt_context &context;
  std::vector<std::vector<Part>> parts; // of each saved tensor
  std::vector<int64_t> order;           // saved tensor of each entry of the file
  std::vector<bool> isSplit;            // of each saved tensor
  std::unique_ptr<SafeTensorsWriter> writer; // of the first rank
  std::vector<char> own;
  char *buffer;
  int64_t bufferBytes;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_WEIGHTS_H

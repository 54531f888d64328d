// Weights.h: between the arena's parameters and files, under the names and in the shapes of the
// original model.
#ifndef GALVATRON_RT_CHECKPOINT_WEIGHTS_H
#define GALVATRON_RT_CHECKPOINT_WEIGHTS_H

#include "checkpoint/Matching.h"
#include "checkpoint/Pulse.h"
#include "checkpoint/Views.h"
#include "core/Context.h"

#include <memory>

namespace galvatron_rt {

/// Fills parameters and constants, and for a checkpoint optimizer state, from a safetensors file. A name may be any of a saved tensor's
/// names; two names of one tensor must hold the same values. f32 is read from F32, F16 and BF16.
/// All problems with names, shapes and dtypes are reported at once, a line each. Once the context has
/// joined other ranks, all of them call it together.
void loadWeights(galvatron_rt_context &context, const std::string &path, LoadScope scope);

/// Throws the Error that loading a checkpoint would throw, if it is about names, shapes and dtypes.
void checkCheckpoint(const Image &image, const std::string &path);

/// The number of steps that a checkpoint was written after. An Error if the file is none.
int64_t readStep(const std::string &path);

/// Fills parameters and constants, or only constants, by the records' init kinds. Once the context has
/// joined other ranks, all of them call it together.
void randomWeights(galvatron_rt_context &context, bool onlyConstants = false);

/// Whether some saved tensor is a constant.
bool hasConstants(const Image &image);

/// Writes files of what is in the arena. Everything large is allocated in the constructor. All ranks
/// call it together, the first one writes: where ranks have pieces, each lays its own into a part of the
/// file, so that none has more than such a part.
class WeightsSaver {
public:
  enum class Kind {
    Parameters,
    Gradients,
    Checkpoint // parameters, optimizer state and the step
  };

  WeightsSaver(galvatron_rt_context &context, const std::string &path, Kind kind);
  void save();
  /// A checkpoint after `step` steps, into a file of the folder that the saver was made for.
  void save(const std::string &path, int64_t step);

private:
  struct Piece {
    ViewCursor cursor;
    const char *data; // NULL = zeros, or another rank has it
  };
  /// One item of which this rank may have pieces.
  struct Stored {
    int64_t saved;
    std::vector<Piece> pieces;
    bool isSplit = false;
  };

  void addItem(const Item &item);
  void addPieces(Stored &stored, const Item::Part &part);
  void write();
  void writeStored(Stored &stored);
  void flush(bool isShared, int64_t bytes);

  galvatron_rt_context &context;
  Pulse pulse;
  std::vector<Stored> contents;
  std::vector<size_t> order; // the content of each entry of the file
  bool hasStep;
  int64_t step = 0;
  std::unique_ptr<SafeTensorsWriter> writer; // of the first rank
  bool isHelper = false; // has pieces of what the first rank writes
  std::vector<char> own;
  char *buffer = nullptr;
  int64_t bufferBytes;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_WEIGHTS_H

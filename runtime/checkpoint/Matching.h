// Matching.h: which tensors of a safetensors file fill which of a program.
#ifndef GALVATRON_RT_CHECKPOINT_MATCHING_H
#define GALVATRON_RT_CHECKPOINT_MATCHING_H

#include "checkpoint/Contents.h"
#include "checkpoint/SafeTensors.h"

#include <map>

namespace galvatron_rt {

/// Which tensors a file must have.
enum class LoadScope {
  Everything, // the program's own weights file
  Parameters, // --load: constants may be missing; what a checkpoint has besides is passed over
  Constants,  // the rest of --load, from the program's own file; parameters are passed over
  Checkpoint  // parameters, optimizer state and the step
};

/// Problems of one kind with the tensors of a file. The first few are told: the file of another
/// model has hundreds.
class ProblemList {
public:
  explicit ProblemList(const char *others) : others(others) {}

  bool isFull() const { return count >= most; }
  void add(const std::string &problem);
  /// One line per problem, and one for all that were not told.
  std::string text(const std::string &path) const;

private:
  static constexpr int64_t most = 5;
  const char *others;
  int64_t count = 0;
  std::vector<std::string> lines;
};

class Matching {
public:
  using Entry = std::pair<const std::string, SafeTensorsReader::Entry>;
  struct Match {
    Item item;
    std::vector<const Entry *> entries; // one for each of its names that the file has
  };

  /// Throws an Error with all that does not match, a line each.
  Matching(const Image &image, const SafeTensorsReader &file, LoadScope scope);

  /// The items that the file fills; none without an entry.
  const std::vector<Match> &matches() const { return found; }

private:
  void takeEntry(const Entry &entry);
  void takeUnknown(const std::string &name);
  std::string nearest(const std::string &name) const;

  const Image &image;
  const SafeTensorsReader &file;
  LoadScope scope;
  std::vector<Match> found;
  std::map<std::string, size_t> matchOf; // by name
  ProblemList unknown{"tensors are not in the model"}, different{"tensors have another shape or dtype"},
      lacking{"tensors are lacking"};
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_MATCHING_H

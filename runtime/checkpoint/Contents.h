// Contents.h: what files hold of a program: its saved tensors, and what goes with their elements.
#ifndef GALVATRON_RT_CHECKPOINT_CONTENTS_H
#define GALVATRON_RT_CHECKPOINT_CONTENTS_H

#include "core/Image.h"

#include <optional>
#include <string>
#include <vector>

namespace galvatron_rt {

/// What a checkpoint calls the number of steps that it was written after, an i64 scalar.
constexpr char stepName[] = "step";

/// What a file holds of a saved tensor; all have its shape.
enum class Content { Values, Gradient, ExpAvg, ExpAvgSq, MomentumBuffer };

/// What optimizers keep of a tensor that they train.
constexpr Content stateContents[] = {Content::ExpAvg, Content::ExpAvgSq, Content::MomentumBuffer};

/// What stands behind the saved tensor's name: ".exp_avg", say, or nothing.
const char *contentSuffix(Content content);

/// The --optimizer that keeps such state: "adamw".
const char *optimizerOf(Content content);

/// One tensor of a file.
struct Item {
  /// A view of the saved tensor, and which tensor of the arena has the content for its elements (-1 =
  /// none: they are zero).
  struct Part {
    const galvatron_rt_view_record *view;
    int64_t tensor;
  };

  int64_t saved;
  Content content;
  std::vector<std::string> names; // the saved tensor's own comes first, with the suffix
  std::vector<Part> parts;
};

/// An item for each saved tensor of which some view has the content, in the image's order. A tensor that
/// the loss does not depend on has no gradient and no state (in PyTorch they are None).
std::vector<Item> itemsOf(const Image &image, Content content);

/// What a name says of state: "w.exp_avg" is ExpAvg of "w".
struct StateName {
  std::string saved;
  Content content;
};
std::optional<StateName> parseStateName(const std::string &name);

/// Throws an Error if a checkpoint cannot hold the program: two of its tensors would have one name, or
/// something that is kept between steps belongs to no parameter.
void checkHasCheckpoints(const Image &image);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_CONTENTS_H

// Views.h: walks the elements of a tensor in the order of the saved tensor that it views.
//
// A view gives element (i, j, ...) of a tensor a place in a row-major saved tensor. Files are
// streams in saved order, so both loading and saving walk each view as a sequence of runs:
// consecutive saved elements that lie at a constant distance from each other in the tensor.
#ifndef GALVATRON_RT_CHECKPOINT_VIEWS_H
#define GALVATRON_RT_CHECKPOINT_VIEWS_H

#include "core/Image.h"

#include <array>

namespace galvatron_rt {

class ViewCursor {
public:
  /// The shape of the tensor, as much of it as has places in the saved tensor, and, per dimension, the
  /// distance of neighbours there. The tensor itself may be larger: `padded` is the shape of its memory.
  /// Throws an Error that names `what` if the walk would not go forward only (the view maps two
  /// elements to one place, or interleaves), or leaves a saved tensor of `savedElements`.
  ViewCursor(Dims shape, Dims padded, Dims savedStrides, int64_t offset, int64_t savedElements,
             const std::string &what);

  bool done() const { return finished; }
  /// First saved element of the run.
  int64_t savedBegin() const { return saved; }
  /// Elements left in the run; consecutive in the saved tensor.
  int64_t length() const { return left; }
  /// Where its first element is in the tensor, and how far apart they are there, in elements.
  int64_t tensorBegin() const { return tensor; }
  int64_t tensorStep() const { return innerStep; }
  /// Goes `count` elements on; at most length().
  void advance(int64_t count);

  /// Elements of the view.
  int64_t size() const { return elements; }
  void rewind();

private:
  struct Dim {
    int64_t size, savedStride, tensorStride;
  };
  std::array<Dim, GALVATRON_RT_MAX_RANK> outer; // slowest in the saved tensor first
  std::array<int64_t, GALVATRON_RT_MAX_RANK> index;
  int outerRank = 0;
  int64_t innerSize = 1, innerStep = 1;
  int64_t offset, elements;
  int64_t saved = 0, tensor = 0, left = 0;
  bool finished = false;
};

/// A cursor for the view, over its whole PARAMETER or CONSTANT tensor (or one of the same shape, as its
/// gradient).
ViewCursor makeCursor(const Image &image, const galvatron_rt_view_record &view);

/// The same over the piece that the rank with these coordinates has.
ViewCursor makeCursor(const Image &image, const galvatron_rt_view_record &view,
                      const std::vector<int64_t> &coordinates);

/// Throws an Error unless the primary views of each saved tensor partition it.
void checkPartition(const Image &image);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CHECKPOINT_VIEWS_H

// Views.cpp: see Views.h.
#include "checkpoint/Views.h"

#include <algorithm>

namespace galvatron_rt {

ViewCursor::ViewCursor(Dims shape, Dims padded, Dims savedStrides, int64_t offset,
                       int64_t savedElements, const std::string &what)
    : offset(offset) {
  elements = elementCount(shape, "a view");
  int64_t tensorStride = 1;
  outerRank = 0;
  for (int64_t d = shape.size() - 1; d >= 0; --d) {
    if (savedStrides[d] < 0)
      fail(what, " has stride ", savedStrides[d], " in dimension ", d);
    if (shape[d] != 1)
      outer[outerRank++] = {shape[d], savedStrides[d], tensorStride};
    tensorStride *= padded[d];
  }
  std::sort(outer.begin(), outer.begin() + outerRank,
            [](const Dim &a, const Dim &b) { return a.savedStride > b.savedStride; });
  // Neighbours that are one longer dimension in both are merged, so that runs are as long as they
  // can be.
  int kept = 0;
  for (int d = 0; d < outerRank; ++d) {
    if (kept > 0) {
      Dim &last = outer[kept - 1];
      if (last.savedStride == outer[d].size * outer[d].savedStride &&
          last.tensorStride == outer[d].size * outer[d].tensorStride) {
        last = {last.size * outer[d].size, outer[d].savedStride, outer[d].tensorStride};
        continue;
      }
    }
    outer[kept++] = outer[d];
  }
  outerRank = kept;
  if (offset < 0)
    fail(what, " starts at element ", offset);
  int64_t last = offset;
  for (int d = outerRank - 1; d >= 0 && elements; --d) {
    int64_t innerExtent = last - offset + 1;
    if (outer[d].savedStride < innerExtent)
      fail(what, " gives two of its elements one place, or not one after the other: a stride of ",
           outer[d].savedStride, " over ", innerExtent, " elements");
    int64_t span = checkedMultiply(outer[d].size - 1, outer[d].savedStride, "a view");
    if (__builtin_add_overflow(last, span, &last))
      fail(what, " is too large");
  }
  if (elements && last >= savedElements)
    fail(what, " reaches element ", last, " of a saved tensor of ", savedElements);
  if (outerRank && outer[outerRank - 1].savedStride == 1) {
    --outerRank;
    innerSize = outer[outerRank].size;
    innerStep = outer[outerRank].tensorStride;
  }
  rewind();
}

void ViewCursor::rewind() {
  index.fill(0);
  saved = offset;
  tensor = 0;
  left = innerSize;
  finished = elements == 0;
}

void ViewCursor::advance(int64_t count) {
  saved += count;
  tensor += count * innerStep;
  left -= count;
  if (left > 0)
    return;
  saved -= innerSize;
  tensor -= innerSize * innerStep;
  left = innerSize;
  for (int d = outerRank - 1; d >= 0; --d) {
    saved += outer[d].savedStride;
    tensor += outer[d].tensorStride;
    if (++index[d] < outer[d].size)
      return;
    saved -= outer[d].size * outer[d].savedStride;
    tensor -= outer[d].size * outer[d].tensorStride;
    index[d] = 0;
  }
  finished = true;
}

static ViewCursor makeCursor(const Image &image, const galvatron_rt_view_record &view,
                             const std::vector<int64_t> &shape, Dims padded, int64_t offset) {
  return ViewCursor(
      Dims(shape.data(), static_cast<int64_t>(shape.size())), padded,
      image.dims(view.strides, padded.size()), offset,
      elementCount(image.dims(image.saved[view.saved]), "a saved tensor"),
      concat("program table: the view of tensor '", image.string(image.tensors[view.tensor].name), "'"));
}

ViewCursor makeCursor(const Image &image, const galvatron_rt_view_record &view) {
  std::vector<int64_t> shape = image.wholeShape(view.tensor);
  return makeCursor(image, view, shape, Dims(shape.data(), static_cast<int64_t>(shape.size())),
                    view.offset);
}

ViewCursor makeCursor(const Image &image, const galvatron_rt_view_record &view,
                      const std::vector<int64_t> &coordinates) {
  Dims piece = image.dims(image.tensors[view.tensor]);
  Span<int64_t> strides = image.dims(view.strides, piece.size());
  std::vector<int64_t> shape = image.wholeShape(view.tensor),
                       begin = image.pieceBegin(view.tensor, coordinates);
  int64_t offset = view.offset;
  for (size_t d = 0; d < shape.size(); ++d) {
    // As many of the whole dimension's places as are left for this piece.
    begin[d] = std::min(begin[d], shape[d]);
    offset += begin[d] * strides[static_cast<int64_t>(d)];
    shape[d] = std::min(shape[d] - begin[d], piece[static_cast<int64_t>(d)]);
  }
  return makeCursor(image, view, shape, piece, offset);
}

void checkPartition(const Image &image) {
  std::vector<std::vector<ViewCursor>> cursors(image.saved.size());
  for (const galvatron_rt_view_record &view : image.views) {
    ViewCursor cursor = makeCursor(image, view);
    if (view.primary == 1)
      cursors[view.saved].push_back(cursor);
  }
  for (int64_t i = 0; i < image.saved.size(); ++i) {
    const galvatron_rt_saved_record &saved = image.saved[i];
    int64_t total = elementCount(image.dims(saved), "a saved tensor"), position = 0;
    std::vector<ViewCursor> &parts = cursors[i];
    // Runs in order, whichever view they come from: each must begin where the one before ended. What other
    // stages have is in their images.
    bool isAlone = image.config().stages == 1;
    while (position < total) {
      ViewCursor *next = nullptr;
      for (ViewCursor &part : parts)
        if (!part.done() && (!next || part.savedBegin() < next->savedBegin()))
          next = &part;
      if (!next && !isAlone)
        break;
      if (next && next->savedBegin() > position && !isAlone)
        position = next->savedBegin();
      if (!next || next->savedBegin() != position)
        fail("program table: the primary views of saved tensor '", image.string(saved.name), "' ",
             next && next->savedBegin() < position ? "overlap" : "leave a gap", " at element ",
             position, " of ", total);
      position += next->length();
      next->advance(next->length());
    }
  }
}

} // namespace galvatron_rt

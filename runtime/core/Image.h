// Image.h: the program table, checked once and then read through typed spans.
//
// The constructor trusts nothing: every index, range, size and string of the image is checked, so
// that the rest of the runtime can use the records without looking again.
#ifndef GALVATRON_RT_CORE_IMAGE_H
#define GALVATRON_RT_CORE_IMAGE_H

#include "core/Error.h"
#include "galvatron_rt.h"

#include <map>
#include <vector>

namespace galvatron_rt {

/// A read-only array of records.
template <typename T> class Span {
public:
  Span() = default;
  Span(const T *data, int64_t size) : data(data), count(size) {}
  const T *begin() const { return data; }
  const T *end() const { return data + count; }
  int64_t size() const { return count; }
  bool empty() const { return count == 0; }
  const T &operator[](int64_t index) const { return data[index]; }
  Span slice(int64_t first, int64_t size) const { return Span(data + first, size); }

private:
  const T *data = nullptr;
  int64_t count = 0;
};

using Dims = Span<int64_t>;

/// Bytes of one element; 0 for a number that is no dtype.
int64_t elementBytes(int64_t dtype);

/// "f32", "i64", "i1".
const char *dtypeName(int64_t dtype);

/// Product of the dimensions; an Error if one is negative or the product does not fit.
int64_t elementCount(Dims dims, const char *what);

class Image {
public:
  /// Throws an Error that starts with "program table: " if the image is not well formed.
  explicit Image(const galvatron_rt_image *raw);

  const galvatron_rt_config_record &config() const { return *configRecord; }
  Dims dims(int64_t first, int64_t rank) const { return dimPool.slice(first, rank); }
  Dims dims(const galvatron_rt_tensor_record &t) const { return dims(t.dims, t.rank); }
  Dims dims(const galvatron_rt_saved_record &s) const { return dims(s.dims, s.rank); }
  const char *string(int64_t offset) const { return raw->strings + offset; }
  bool validString(int64_t offset) const { return offset >= 0 && offset < raw->n_strings; }
  galvatron_rt_function function(int64_t index) const { return raw->functions[index]; }

  Span<galvatron_rt_tensor_record> tensors;
  Span<galvatron_rt_saved_record> saved;
  Span<galvatron_rt_view_record> views;
  Span<galvatron_rt_alias_record> aliases;
  Span<galvatron_rt_state_record> state;
  Span<galvatron_rt_matmul_record> matmuls;
  Span<galvatron_rt_conv_record> convs;
  Span<galvatron_rt_function_record> functions;
  Span<galvatron_rt_row_record> trainRows;
  Span<galvatron_rt_row_record> forwardRows;
  Span<galvatron_rt_arg_record> args;
  Span<galvatron_rt_axis_record> axes;
  Span<galvatron_rt_group_record> groups;
  Span<galvatron_rt_shift_record> shifts;
  Span<galvatron_rt_split_record> splits;

  /// A rank's place along each axis of the mesh.
  std::vector<int64_t> coordinates(int64_t rank) const;
  /// The ranks of the set of `group` that `rank` is in, in the set's order.
  std::vector<int64_t> members(int64_t group, int64_t rank) const;
  /// Where an argument lies in the arena of the rank with these coordinates.
  int64_t offset(const galvatron_rt_arg_record &arg, const std::vector<int64_t> &coordinates) const;

  /// The shape of a tensor of which ranks may have pieces.
  std::vector<int64_t> wholeShape(int64_t tensor) const;
  /// Whether some rank lacks a part of some parameter: these are saved through the staging area.
  bool hasPieces() const { return !splits.empty() || config().stages > 1; }
  /// How many of the axes, from the outermost on, are those of stages.
  int64_t stageAxes() const;
  /// Where the piece of the rank with these coordinates begins in each dimension of the whole tensor; in
  /// one that is padded perhaps behind the end.
  std::vector<int64_t> pieceBegin(int64_t tensor, const std::vector<int64_t> &coordinates) const;

private:
  bool sameShape(const galvatron_rt_tensor_record &a, const galvatron_rt_tensor_record &b) const;
  void readSections();
  void checkConfig() const;
  void checkTensors() const;
  void checkResidentsApart() const;
  void checkSaved() const;
  void checkViews() const;
  void checkState() const;
  void checkMesh() const;
  void checkSplits() const;
  void checkStaging() const;
  void checkRows(Span<galvatron_rt_row_record> rows, const char *table) const;
  void checkArgs(const galvatron_rt_row_record &row, const std::string &what) const;
  void checkCollective(const galvatron_rt_row_record &row, const std::string &what) const;
  void checkUnderway(const galvatron_rt_row_record &row, const std::string &what,
                     std::vector<const galvatron_rt_row_record *> &collectives) const;
  void checkMessage(const galvatron_rt_row_record &row, const std::string &what,
                    std::map<int64_t, int64_t> &underway) const;
  void checkString(int64_t offset, const std::string &what) const;
  void checkDims(int64_t first, int64_t rank, const std::string &what) const;
  void checkArenaRange(int64_t offset, int64_t bytes, const std::string &what,
                       int64_t alignment = GALVATRON_RT_ALIGNMENT) const;
  void checkScalar(int64_t index, int64_t role, int64_t elements, const char *what) const;
  template <typename T>
  void take(const galvatron_rt_section &section, const char *name, Span<T> &into) const;

  const galvatron_rt_image *raw;
  const galvatron_rt_config_record *configRecord = nullptr;
  Span<int64_t> dimPool;
};

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_IMAGE_H

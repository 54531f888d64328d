// Image.cpp: reads the header and the sections of a program table and checks every record. What a
// view or a matmul must satisfy beyond its bounds is checked where it is used
// (checkpoint/Views.cpp, device/cpu/).
#include "core/Image.h"

#include "checkpoint/Views.h"
#include "core/ImageChecks.h"
#include "core/Cpu.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace galvatron_rt {
using image::bad;
using image::inRange;
using image::maxCount;

namespace {

// More than any machine has, which Arena says; sums of it and a huge page are still numbers.
constexpr int64_t maxArenaBytes = int64_t(1) << 60;

} // namespace

int64_t elementBytes(int64_t dtype) {
  switch (dtype) {
  case GALVATRON_RT_F32:
    return 4;
  case GALVATRON_RT_I64:
    return 8;
  case GALVATRON_RT_I1:
    return 1;
  }
  return 0;
}

const char *dtypeName(int64_t dtype) {
  switch (dtype) {
  case GALVATRON_RT_F32:
    return "f32";
  case GALVATRON_RT_I64:
    return "i64";
  case GALVATRON_RT_I1:
    return "i1";
  }
  return "unknown";
}

int64_t elementCount(Dims dims, const char *what) {
  int64_t count = 1;
  for (int64_t dim : dims)
    count = checkedMultiply(count, dim, what);
  return count;
}

Image::Image(const galvatron_rt_image *raw) : raw(raw) {
  if (!raw)
    bad("there is none");
  if (raw->magic != GALVATRON_RT_MAGIC)
    bad("magic is ", raw->magic, ", wanted ", GALVATRON_RT_MAGIC);
  if (raw->version != GALVATRON_RT_VERSION)
    bad("version is ", raw->version, ", this runtime reads ", GALVATRON_RT_VERSION);
  if (raw->size != sizeof(galvatron_rt_image))
    bad("size is ", raw->size, ", wanted ", sizeof(galvatron_rt_image));
  if (raw->n_strings < 1 || raw->n_strings > maxCount || !raw->strings || raw->strings[0] != '\0' ||
      raw->strings[raw->n_strings - 1] != '\0')
    bad("the strings must start and end with a NUL");
  if (raw->n_words < 1 || raw->n_words > maxCount || !raw->words)
    bad("there are no words");
  if (raw->n_functions < 0 || raw->n_functions > maxCount || (raw->n_functions && !raw->functions))
    bad("n_functions is ", raw->n_functions);
  readSections();
  checkConfig();
  checkTensors();
  checkResidentsApart();
  checkMesh();
  checkSplits();
  checkStaging();
  checkSaved();
  checkViews();
  checkState();
  checkRows(trainRows, "training");
  checkRows(forwardRows, "forward");
}

template <typename T>
void Image::take(const galvatron_rt_section &section, const char *name, Span<T> &into) const {
  constexpr int64_t words = sizeof(T) / sizeof(int64_t);
  if (section.record_words != words)
    bad("records of section ", name, " have ", section.record_words, " words, this runtime reads ",
        words);
  if (section.n_records < 0 || section.n_records > maxCount || section.word_offset < 0 ||
      section.word_offset > raw->n_words ||
      section.n_records > (raw->n_words - section.word_offset) / words)
    bad("section ", name, " (", section.n_records, " records at word ", section.word_offset,
        ") does not fit into ", raw->n_words, " words");
  into = Span<T>(reinterpret_cast<const T *>(raw->words + section.word_offset), section.n_records);
}

void Image::readSections() {
  int64_t count = raw->words[0];
  constexpr int64_t words = sizeof(galvatron_rt_section) / sizeof(int64_t);
  if (count < 0 || count > (raw->n_words - 1) / words)
    bad("the list of ", count, " sections does not fit into ", raw->n_words, " words");
  Span<galvatron_rt_section> sections(
      reinterpret_cast<const galvatron_rt_section *>(raw->words + 1), count);
  std::set<int64_t> seen;
  Span<galvatron_rt_config_record> configs;
  for (const galvatron_rt_section &section : sections) {
    if (section.kind < 1 || section.kind >= GALVATRON_RT_SECTION_KIND_END)
      bad("section of unknown kind ", section.kind);
    if (!seen.insert(section.kind).second)
      bad("two sections of kind ", section.kind);
    switch (static_cast<galvatron_rt_section_kind>(section.kind)) {
    case GALVATRON_RT_SECTION_CONFIG:
      take(section, "config", configs);
      break;
    case GALVATRON_RT_SECTION_DIMS:
      take(section, "dims", dimPool);
      break;
    case GALVATRON_RT_SECTION_TENSORS:
      take(section, "tensors", tensors);
      break;
    case GALVATRON_RT_SECTION_SAVED:
      take(section, "saved", saved);
      break;
    case GALVATRON_RT_SECTION_VIEWS:
      take(section, "views", views);
      break;
    case GALVATRON_RT_SECTION_ALIASES:
      take(section, "aliases", aliases);
      break;
    case GALVATRON_RT_SECTION_STATE:
      take(section, "state", state);
      break;
    case GALVATRON_RT_SECTION_MATMULS:
      take(section, "matmuls", matmuls);
      break;
    case GALVATRON_RT_SECTION_CONVS:
      take(section, "convs", convs);
      break;
    case GALVATRON_RT_SECTION_FUNCTIONS:
      take(section, "functions", functions);
      break;
    case GALVATRON_RT_SECTION_TRAIN_ROWS:
      take(section, "train rows", trainRows);
      break;
    case GALVATRON_RT_SECTION_FORWARD_ROWS:
      take(section, "forward rows", forwardRows);
      break;
    case GALVATRON_RT_SECTION_ARGS:
      take(section, "args", args);
      break;
    case GALVATRON_RT_SECTION_AXES:
      take(section, "axes", axes);
      break;
    case GALVATRON_RT_SECTION_GROUPS:
      take(section, "groups", groups);
      break;
    case GALVATRON_RT_SECTION_SHIFTS:
      take(section, "shifts", shifts);
      break;
    case GALVATRON_RT_SECTION_SPLITS:
      take(section, "splits", splits);
      break;
    }
  }
  if (configs.size() != 1)
    bad("wanted one config record, found ", configs.size());
  configRecord = configs.begin();
}

void Image::checkString(int64_t offset, const std::string &what) const {
  if (!validString(offset))
    bad(what, " has a name at ", offset, " of ", raw->n_strings, " bytes of strings");
}

void Image::checkDims(int64_t first, int64_t rank, const std::string &what) const {
  if (rank < 0 || rank > GALVATRON_RT_MAX_RANK)
    bad(what, " has rank ", rank, ", at most ", GALVATRON_RT_MAX_RANK, " is possible");
  if (first < 0 || first > dimPool.size() - rank)
    bad(what, " has its dimensions at ", first, " of ", dimPool.size());
}

void Image::checkArenaRange(int64_t offset, int64_t bytes, const std::string &what,
                            int64_t alignment) const {
  if (offset < 0 || bytes < 0 || bytes > config().arena_bytes ||
      offset > config().arena_bytes - bytes)
    bad(what, " (", bytes, " bytes at ", offset, ") does not fit into the arena of ",
        config().arena_bytes, " bytes");
  if (offset % alignment)
    bad(what, " is at ", offset, ", which is not a multiple of ", alignment);
}

void Image::checkScalar(int64_t index, int64_t role, int64_t elements, const char *what) const {
  if (index == -1)
    return;
  if (!inRange(index, tensors.size()))
    bad(what, " is tensor ", index, " of ", tensors.size());
  const galvatron_rt_tensor_record &tensor = tensors[index];
  if (tensor.role != role || tensor.dtype != GALVATRON_RT_F32 || tensor.bytes != 4 * elements)
    bad(what, " must be ", elements, " f32 with role ", role, ", found ", tensor.bytes,
        " bytes of ", dtypeName(tensor.dtype), " with role ", tensor.role);
}

void Image::checkConfig() const {
  const galvatron_rt_config_record &c = config();
  if (c.arena_bytes < 0 || c.arena_bytes > maxArenaBytes)
    bad("arena_bytes is ", c.arena_bytes);
  if (c.threads < 1 || c.threads > 4096)
    bad("threads is ", c.threads);
  if (c.cpu_level != GALVATRON_RT_CPU_X86_64_V3 && c.cpu_level != GALVATRON_RT_CPU_X86_64_V4)
    bad("cpu_level is ", c.cpu_level);
  if (c.optimizer < GALVATRON_RT_OPTIMIZER_NONE || c.optimizer > GALVATRON_RT_OPTIMIZER_SGD)
    bad("optimizer is ", c.optimizer);
  if (c.ranks < 1 || c.stages < 1 || c.ranks % c.stages)
    bad(c.ranks, " ranks do not divide into ", c.stages, " stages");
  if (!inRange(c.stage, c.stages) || c.max_sent < 0 || c.max_sent > maxCount)
    bad("it is of stage ", c.stage, " of ", c.stages, " with max_sent ", c.max_sent);
  if (c.micro_batches < 1 || c.batch_rows < 1 || c.tokens_per_step < 0)
    bad("micro_batches is ", c.micro_batches, ", batch_rows is ", c.batch_rows,
        ", tokens_per_step is ", c.tokens_per_step);
  if (c.random_weights != 0 && c.random_weights != 1)
    bad("random_weights is ", c.random_weights);
  checkString(c.cpu_features, "cpu_features");
  checkString(c.model_name, "model_name");
  checkString(c.compiler, "compiler");
  for (const std::string &feature : splitFeatures(string(c.cpu_features)))
    if (!galvatron_rt_cpu_feature_known(feature.c_str()))
      bad("cpu feature '", feature, "' is not known");
  checkScalar(c.loss, GALVATRON_RT_ROLE_SCALAR, 1, "loss");
  checkScalar(c.grad_norm, GALVATRON_RT_ROLE_SCALAR, 1, "grad_norm");
  checkScalar(c.hyper, GALVATRON_RT_ROLE_HYPER, GALVATRON_RT_HYPER_COUNT, "hyper");
  if (functions.size() != raw->n_functions)
    bad(functions.size(), " function records for ", raw->n_functions, " functions");
  for (int64_t i = 0; i < functions.size(); ++i) {
    checkString(functions[i].name, concat("function ", i));
    if (functions[i].frame_bytes < 0 || !raw->functions[i])
      bad("function '", string(functions[i].name), "' is null or has frame_bytes ",
          functions[i].frame_bytes);
  }
  for (int64_t i = 0; i < matmuls.size(); ++i)
    checkString(matmuls[i].name, concat("matmul ", i));
  for (int64_t i = 0; i < convs.size(); ++i)
    checkString(convs[i].name, concat("convolution ", i));
}

void Image::checkTensors() const {
  std::map<std::string, int64_t> named;
  for (int64_t i = 0; i < tensors.size(); ++i) {
    const galvatron_rt_tensor_record &tensor = tensors[i];
    checkString(tensor.name, concat("tensor ", i));
    std::string what = concat("tensor '", string(tensor.name), "'");
    if (tensor.role < 0 || tensor.role > GALVATRON_RT_ROLE_OUTPUT)
      bad(what, " has role ", tensor.role);
    if (!elementBytes(tensor.dtype))
      bad(what, " has dtype ", tensor.dtype);
    checkDims(tensor.dims, tensor.rank, what);
    int64_t bytes = checkedMultiply(elementCount(dims(tensor), "program table: a tensor"),
                                    elementBytes(tensor.dtype), "program table: a tensor");
    if (bytes != tensor.bytes)
      bad(what, " says ", tensor.bytes, " bytes, its shape ", shapeText(dims(tensor)), " has ",
          bytes);
    bool isFile = tensor.role == GALVATRON_RT_ROLE_INPUT || tensor.role == GALVATRON_RT_ROLE_LABELS;
    if (!(isFile && tensor.offset == -1))
      checkArenaRange(tensor.offset, tensor.bytes, what);
    bool isOutput = tensor.role == GALVATRON_RT_ROLE_OUTPUT;
    if (tensor.batch_dim < -1 ||
        (tensor.batch_dim != -1 && (!isOutput || tensor.batch_dim >= tensor.rank)))
      bad(what, " has batch_dim ", tensor.batch_dim);
    if (!isFile && !isOutput)
      continue;
    auto [place, isNew] = named.emplace(string(tensor.name), i);
    const galvatron_rt_tensor_record &other = tensors[place->second];
    bool isPiece = isOutput && other.role == tensor.role && other.dtype == tensor.dtype &&
                   other.batch_dim == tensor.batch_dim && sameShape(other, tensor);
    if (!isNew && !isPiece)
      bad("two inputs or outputs are called '", string(tensor.name), "'");
  }
}

bool Image::sameShape(const galvatron_rt_tensor_record &a,
                      const galvatron_rt_tensor_record &b) const {
  return a.rank == b.rank && std::equal(dims(a).begin(), dims(a).end(), dims(b).begin());
}

void Image::checkResidentsApart() const {
  struct Range {
    int64_t begin, end, tensor;
  };
  std::vector<Range> ranges;
  for (int64_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].role <= GALVATRON_RT_ROLE_OPTIMIZER_STATE && tensors[i].bytes)
      ranges.push_back({tensors[i].offset, tensors[i].offset + tensors[i].bytes, i});
  std::sort(ranges.begin(), ranges.end(),
            [](const Range &a, const Range &b) { return a.begin < b.begin; });
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].begin < ranges[i - 1].end)
      bad("tensors '", string(tensors[ranges[i - 1].tensor].name), "' and '",
          string(tensors[ranges[i].tensor].name), "' share bytes of the arena");
}

void Image::checkSaved() const {
  std::set<std::string> names;
  auto addName = [&](int64_t name) {
    if (!*string(name) || !names.insert(string(name)).second)
      bad("two saved tensors are called '", string(name), "', or it is empty");
  };
  for (int64_t i = 0; i < saved.size(); ++i) {
    const galvatron_rt_saved_record &record = saved[i];
    checkString(record.name, concat("saved tensor ", i));
    std::string what = concat("saved tensor '", string(record.name), "'");
    addName(record.name);
    if (record.kind < 0 || record.kind > GALVATRON_RT_SAVED_CONSTANT)
      bad(what, " has kind ", record.kind);
    if (!elementBytes(record.dtype))
      bad(what, " has dtype ", record.dtype);
    if (record.init < 0 || record.init > GALVATRON_RT_INIT_NORMAL)
      bad(what, " has init ", record.init);
    if (record.kind == GALVATRON_RT_SAVED_TRAINABLE && record.dtype != GALVATRON_RT_F32)
      bad(what, " is trainable and ", dtypeName(record.dtype));
    checkDims(record.dims, record.rank, what);
    checkedMultiply(elementCount(dims(record), "program table: a saved tensor"),
                    elementBytes(record.dtype), "program table: a saved tensor");
  }
  for (int64_t i = 0; i < aliases.size(); ++i) {
    checkString(aliases[i].name, concat("alias ", i));
    if (!inRange(aliases[i].saved, saved.size()))
      bad("alias '", string(aliases[i].name), "' is of saved tensor ", aliases[i].saved, " of ",
          saved.size());
    addName(aliases[i].name);
  }
}

void Image::checkViews() const {
  std::vector<int> viewsOf(tensors.size(), 0);
  for (int64_t i = 0; i < views.size(); ++i) {
    const galvatron_rt_view_record &view = views[i];
    if (!inRange(view.tensor, tensors.size()) || !inRange(view.saved, saved.size()))
      bad("view ", i, " is of tensor ", view.tensor, " and saved tensor ", view.saved);
    const galvatron_rt_tensor_record &tensor = tensors[view.tensor];
    std::string what = concat("the view of tensor '", string(tensor.name), "'");
    if (tensor.role != GALVATRON_RT_ROLE_PARAMETER && tensor.role != GALVATRON_RT_ROLE_CONSTANT)
      bad(what, ", which has role ", tensor.role);
    if (view.primary < 0 || view.primary > (config().stages > 1 ? 2 : 1))
      bad(what, " has primary ", view.primary);
    if (tensor.dtype != saved[view.saved].dtype)
      bad(what, " is ", dtypeName(tensor.dtype), " of a saved tensor of ",
          dtypeName(saved[view.saved].dtype));
    checkDims(view.strides, tensor.rank, what);
    viewsOf[view.tensor]++;
  }
  for (int64_t i = 0; i < tensors.size(); ++i)
    if (tensors[i].role <= GALVATRON_RT_ROLE_CONSTANT && viewsOf[i] != 1)
      bad("tensor '", string(tensors[i].name), "' has ", viewsOf[i], " views, wanted 1");
  checkPartition(*this);
}

void Image::checkState() const {
  std::set<std::pair<int64_t, int64_t>> seen;
  for (int64_t i = 0; i < state.size(); ++i) {
    const galvatron_rt_state_record &record = state[i];
    if (!inRange(record.parameter, tensors.size()) || !inRange(record.tensor, tensors.size()))
      bad("state ", i, " is tensor ", record.tensor, " of parameter ", record.parameter);
    if (record.kind < 0 || record.kind > GALVATRON_RT_STATE_MOMENTUM_BUFFER)
      bad("state ", i, " has kind ", record.kind);
    const galvatron_rt_tensor_record &parameter = tensors[record.parameter];
    const galvatron_rt_tensor_record &tensor = tensors[record.tensor];
    int64_t role = record.kind == GALVATRON_RT_STATE_GRADIENT ? GALVATRON_RT_ROLE_GRADIENT
                                                              : GALVATRON_RT_ROLE_OPTIMIZER_STATE;
    if (parameter.role != GALVATRON_RT_ROLE_PARAMETER || tensor.role != role ||
        !sameShape(tensor, parameter) || tensor.dtype != parameter.dtype)
      bad("'", string(tensor.name), "' ", shapeText(dims(tensor)), " with role ", tensor.role,
          " cannot be state of kind ", record.kind, " of '", string(parameter.name), "' ",
          shapeText(dims(parameter)), " with role ", parameter.role);
    if (!seen.insert({record.parameter, record.kind}).second)
      bad("parameter '", string(parameter.name), "' has two states of kind ", record.kind);
  }
}

std::vector<int64_t> Image::coordinates(int64_t rank) const {
  std::vector<int64_t> digits(static_cast<size_t>(axes.size()));
  for (int64_t a = axes.size() - 1; a >= 0; --a) {
    digits[static_cast<size_t>(a)] = rank % axes[a].size;
    rank /= axes[a].size;
  }
  return digits;
}

std::vector<int64_t> Image::members(int64_t group, int64_t rank) const {
  // How far apart neighbours along an axis are.
  std::vector<int64_t> stride(static_cast<size_t>(axes.size()), 1);
  for (int64_t a = axes.size() - 2; a >= 0; --a)
    stride[static_cast<size_t>(a)] = stride[static_cast<size_t>(a) + 1] * axes[a + 1].size;
  std::vector<int64_t> digits = coordinates(rank);
  Span<int64_t> along = dims(groups[group].axes, groups[group].n_axes);
  int64_t first = rank;
  for (int64_t axis : along)
    first -= digits[static_cast<size_t>(axis)] * stride[static_cast<size_t>(axis)];
  std::vector<int64_t> ranks = {first};
  for (int64_t axis : along) {
    std::vector<int64_t> longer;
    for (int64_t before : ranks)
      for (int64_t i = 0; i < axes[axis].size; ++i)
        longer.push_back(before + i * stride[static_cast<size_t>(axis)]);
    ranks = std::move(longer);
  }
  return ranks;
}

int64_t Image::offset(const galvatron_rt_arg_record &arg,
                      const std::vector<int64_t> &coordinates) const {
  int64_t offset = arg.offset;
  for (const galvatron_rt_shift_record &shift : shifts.slice(arg.first_shift, arg.n_shifts))
    offset += coordinates[static_cast<size_t>(shift.axis)] * shift.bytes;
  return offset;
}

std::vector<int64_t> Image::wholeShape(int64_t tensor) const {
  Dims piece = dims(tensors[tensor]);
  std::vector<int64_t> shape(piece.begin(), piece.end());
  for (const galvatron_rt_split_record &split : splits)
    if (split.tensor == tensor)
      shape[static_cast<size_t>(split.dim)] = split.size;
  return shape;
}

std::vector<int64_t> Image::pieceBegin(int64_t tensor, const std::vector<int64_t> &coordinates) const {
  std::vector<int64_t> begin(static_cast<size_t>(tensors[tensor].rank), 0);
  for (const galvatron_rt_split_record &split : splits)
    if (split.tensor == tensor) {
      int64_t &n = begin[static_cast<size_t>(split.dim)];
      n = n * axes[split.axis].size + coordinates[static_cast<size_t>(split.axis)];
    }
  for (size_t d = 0; d < begin.size(); ++d)
    begin[d] *= dims(tensors[tensor])[static_cast<int64_t>(d)];
  return begin;
}

void Image::checkSplits() const {
  std::set<std::pair<int64_t, int64_t>> seen;
  for (int64_t i = 0; i < splits.size(); ++i) {
    const galvatron_rt_split_record &split = splits[i];
    if (!inRange(split.tensor, tensors.size()) || tensors[split.tensor].role > GALVATRON_RT_ROLE_GRADIENT ||
        !inRange(split.dim, tensors[split.tensor].rank) || !inRange(split.axis, axes.size()))
      bad("split ", i, " is of dimension ", split.dim, " of tensor ", split.tensor, " along axis ", split.axis);
    if (!seen.insert({split.tensor, split.axis}).second)
      bad("tensor '", string(tensors[split.tensor].name), "' is split twice along axis '",
          string(axes[split.axis].name), "'");
  }
  for (const galvatron_rt_split_record &split : splits) {
    int64_t pieces = 1;
    for (const galvatron_rt_split_record &other : splits)
      if (other.tensor == split.tensor && other.dim == split.dim)
        pieces = checkedMultiply(pieces, axes[other.axis].size, "a split tensor");
    if (int64_t piece = dims(tensors[split.tensor])[split.dim]; split.size < 1 || (split.size - 1) / pieces + 1 != piece)
      bad("a split cuts ", split.size, " rows into ", pieces, " pieces of ", piece);
  }
}

void Image::checkStaging() const {
  const galvatron_rt_config_record &c = config();
  if (!hasPieces())
    return;
  if (!inRange(c.staging_group, groups.size()) || c.staging_bytes < 8 || c.staging_bytes % 8)
    bad("ranks have pieces, staging of ", c.staging_bytes, " bytes and staging group ",
        c.staging_group, " of ", groups.size());
  checkArenaRange(c.staging_offset, c.staging_bytes, "the staging area");
  Span<int64_t> along = dims(groups[c.staging_group].axes, groups[c.staging_group].n_axes);
  for (const galvatron_rt_split_record &split : splits)
    if (std::find(along.begin(), along.end(), split.axis) == along.end())
      bad("the staging group lacks axis '", string(axes[split.axis].name), "', which splits '",
          string(tensors[split.tensor].name), "'");
  for (int64_t axis = 0; axis < stageAxes(); ++axis)
    if (std::find(along.begin(), along.end(), axis) == along.end())
      bad("the staging group lacks axis '", string(axes[axis].name), "', which is of stages");
}

int64_t Image::stageAxes() const {
  int64_t count = 0;
  for (int64_t ranks = 1; ranks < config().stages; ++count)
    ranks *= axes[count].size;
  return count;
}

void Image::checkMesh() const {
  int64_t ranks = 1;
  for (int64_t i = 0; i < axes.size(); ++i) {
    checkString(axes[i].name, concat("axis ", i));
    if (axes[i].size < 2)
      bad("axis '", string(axes[i].name), "' has size ", axes[i].size);
    ranks = checkedMultiply(ranks, axes[i].size, "program table: the mesh");
  }
  if (ranks != config().ranks)
    bad("the mesh has ", ranks, " ranks, the program ", config().ranks);
  int64_t stages = 1;
  for (int64_t i = 0; i < axes.size() && stages < config().stages; ++i)
    stages *= axes[i].size;
  if (stages != config().stages)
    bad("the outermost axes have ", stages, " points where there are ", config().stages, " stages");
  for (int64_t i = 0; i < groups.size(); ++i) {
    const galvatron_rt_group_record &group = groups[i];
    checkString(group.name, concat("group ", i));
    if (group.n_axes < 1 || group.axes < 0 || group.axes > dimPool.size() - group.n_axes)
      bad("group '", string(group.name), "' has ", group.n_axes, " axes from ", group.axes, " of ",
          dimPool.size());
    int64_t before = -1;
    for (int64_t axis : dims(group.axes, group.n_axes)) {
      if (axis <= before || axis >= axes.size())
        bad("group '", string(group.name), "' has axis ", axis, " of ", axes.size(), " after axis ",
            before);
      before = axis;
    }
  }
  for (int64_t i = 0; i < shifts.size(); ++i)
    if (!inRange(shifts[i].axis, axes.size()) || shifts[i].bytes < 0)
      bad("shift ", i, " is of ", shifts[i].bytes, " bytes along axis ", shifts[i].axis, " of ",
          axes.size());
}

} // namespace galvatron_rt

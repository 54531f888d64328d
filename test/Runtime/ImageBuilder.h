// ImageBuilder.h: builds program tables by hand, as the compiler does it, for tests.
#ifndef GALVATRON_TEST_RUNTIME_IMAGEBUILDER_H
#define GALVATRON_TEST_RUNTIME_IMAGEBUILDER_H

#include "galvatron_rt.h"

#include <cstring>
#include <map>
#include <string>
#include <vector>

/// The best level of this machine, or the one that the environment asks for (3 or 4).
int64_t testLevel();

/// A program table that grows record by record.
class ImageBuilder {
public:
  using Words = std::vector<int64_t>;

  ImageBuilder() {
    strings.assign(1, '\0');
    std::memset(&config, 0, sizeof(config));
    config.threads = 2;
    config.cpu_level = testLevel();
    config.optimizer = GALVATRON_RT_OPTIMIZER_NONE;
    config.ranks = config.stages = config.micro_batches = config.batch_rows = 1;
    config.loss = config.grad_norm = config.hyper = -1;
    config.ignored_label = -100;
  }

  int64_t string(const std::string &text) {
    if (text.empty())
      return 0;
    int64_t offset = static_cast<int64_t>(strings.size());
    strings += text;
    strings += '\0';
    return offset;
  }

  int64_t pool(const Words &values) {
    int64_t first = static_cast<int64_t>(dims.size());
    dims.insert(dims.end(), values.begin(), values.end());
    return first;
  }

  /// Takes the next bytes of the arena.
  int64_t allocate(int64_t bytes) {
    int64_t offset = config.arena_bytes;
    config.arena_bytes += (bytes + 63) / 64 * 64;
    return offset;
  }

  static int64_t elements(const Words &shape) {
    int64_t count = 1;
    for (int64_t dim : shape)
      count *= dim;
    return count;
  }

  int64_t tensor(const std::string &name, int64_t role, int64_t dtype, const Words &shape,
                 int64_t batchDim = -1) {
    int64_t bytes = elements(shape) * (dtype == GALVATRON_RT_F32   ? 4
                                       : dtype == GALVATRON_RT_I64 ? 8
                                                                   : 1);
    tensors.push_back({string(name), role, dtype, static_cast<int64_t>(shape.size()), pool(shape),
                       allocate(bytes), bytes, batchDim});
    return static_cast<int64_t>(tensors.size()) - 1;
  }

  int64_t savedTensor(const std::string &name, int64_t kind, int64_t dtype, const Words &shape,
                      int64_t init = GALVATRON_RT_INIT_NORMAL) {
    saved.push_back(
        {string(name), kind, dtype, static_cast<int64_t>(shape.size()), pool(shape), init,
         kind == GALVATRON_RT_SAVED_TRAINABLE});
    return static_cast<int64_t>(saved.size()) - 1;
  }

  void view(int64_t tensor, int64_t savedIndex, int64_t offset, const Words &strides,
            int64_t primary = 1) {
    views.push_back({tensor, savedIndex, offset, pool(strides), primary});
  }

  void alias(const std::string &name, int64_t savedIndex) {
    aliases.push_back({string(name), savedIndex});
  }

  int64_t function(const std::string &name, galvatron_rt_function fn, int64_t frameBytes = 0) {
    functionRecords.push_back({string(name), frameBytes});
    functions.push_back(fn);
    return static_cast<int64_t>(functions.size()) - 1;
  }

  struct Arg {
    int64_t tensor, access;
  };

  void run(std::vector<galvatron_rt_row_record> &rows, int64_t fn, const std::string &name,
           const std::vector<Arg> &given, int64_t microBatch = -1) {
    int64_t first = static_cast<int64_t>(args.size());
    for (const Arg &arg : given) {
      const galvatron_rt_tensor_record &t = tensors[static_cast<size_t>(arg.tensor)];
      args.push_back({t.offset, t.bytes, arg.access, t.dtype, t.name, 0, 0});
    }
    int64_t frameBytes = functionRecords[static_cast<size_t>(fn)].frame_bytes;
    rows.push_back({GALVATRON_RT_ACTION_RUN, fn, microBatch, first,
                    static_cast<int64_t>(given.size()), frameBytes ? allocate(frameBytes) : -1, -1,
                    string(name), -1, -1, -1});
  }

  void publish(std::vector<galvatron_rt_row_record> &rows, int64_t tensor, int64_t microBatch) {
    rows.push_back(
        {GALVATRON_RT_ACTION_PUBLISH_OUTPUT, -1, microBatch, 0, 0, -1, tensor, string("publish"), -1, -1, -1});
  }

  void publishGradients(std::vector<galvatron_rt_row_record> &rows) {
    rows.push_back(
        {GALVATRON_RT_ACTION_PUBLISH_GRADIENTS, -1, -1, 0, 0, -1, -1, string("gradients"), -1, -1, -1});
  }

  /// The image of what was added so far; valid until the next call or change.
  const galvatron_rt_image *build() {
    words.clear();
    std::vector<galvatron_rt_section> sections;
    std::vector<Words> contents;
    auto add = [&](int64_t kind, int64_t recordWords, int64_t count, const void *data) {
      sections.push_back({kind, recordWords, count, 0});
      Words copy(static_cast<size_t>(recordWords * count));
      if (!copy.empty())
        std::memcpy(copy.data(), data, copy.size() * 8);
      contents.push_back(copy);
    };
    auto addAll = [&](int64_t kind, const auto &records) {
      using Record = typename std::decay_t<decltype(records)>::value_type;
      add(kind, sizeof(Record) / 8, static_cast<int64_t>(records.size()), records.data());
    };
    add(GALVATRON_RT_SECTION_CONFIG, sizeof(config) / 8, 1, &config);
    addAll(GALVATRON_RT_SECTION_DIMS, dims);
    addAll(GALVATRON_RT_SECTION_TENSORS, tensors);
    addAll(GALVATRON_RT_SECTION_SAVED, saved);
    addAll(GALVATRON_RT_SECTION_VIEWS, views);
    addAll(GALVATRON_RT_SECTION_ALIASES, aliases);
    addAll(GALVATRON_RT_SECTION_STATE, state);
    addAll(GALVATRON_RT_SECTION_MATMULS, matmuls);
    addAll(GALVATRON_RT_SECTION_CONVS, convs);
    addAll(GALVATRON_RT_SECTION_FUNCTIONS, functionRecords);
    addAll(GALVATRON_RT_SECTION_TRAIN_ROWS, trainRows);
    addAll(GALVATRON_RT_SECTION_FORWARD_ROWS, forwardRows);
    addAll(GALVATRON_RT_SECTION_ARGS, args);
    addAll(GALVATRON_RT_SECTION_AXES, axes);
    addAll(GALVATRON_RT_SECTION_GROUPS, groups);
    addAll(GALVATRON_RT_SECTION_SHIFTS, shifts);
    addAll(GALVATRON_RT_SECTION_SPLITS, splits);
    words.push_back(static_cast<int64_t>(sections.size()));
    int64_t position = 1 + static_cast<int64_t>(sections.size() * sizeof(galvatron_rt_section) / 8);
    for (size_t i = 0; i < sections.size(); ++i) {
      sections[i].word_offset = position;
      position += static_cast<int64_t>(contents[i].size());
    }
    const int64_t *raw = reinterpret_cast<const int64_t *>(sections.data());
    words.insert(words.end(), raw, raw + sections.size() * sizeof(galvatron_rt_section) / 8);
    for (const Words &content : contents)
      words.insert(words.end(), content.begin(), content.end());
    image = {sizeof(image),        GALVATRON_RT_MAGIC,
             GALVATRON_RT_VERSION, 0,
             words.data(),         static_cast<int64_t>(words.size()),
             strings.data(),       static_cast<int64_t>(strings.size()),
             functions.data(),     static_cast<int64_t>(functions.size())};
    return &image;
  }

  /// The runtime's complaint about the image, "" if it has none.
  std::string complaint() {
    char error[512] = "";
    return galvatron_rt_check_image(build(), error, sizeof(error)) ? error : "";
  }

  galvatron_rt_config_record config;
  std::vector<galvatron_rt_tensor_record> tensors;
  std::vector<galvatron_rt_saved_record> saved;
  std::vector<galvatron_rt_view_record> views;
  std::vector<galvatron_rt_alias_record> aliases;
  std::vector<galvatron_rt_state_record> state;
  std::vector<galvatron_rt_matmul_record> matmuls;
  std::vector<galvatron_rt_conv_record> convs;
  std::vector<galvatron_rt_function_record> functionRecords;
  std::vector<galvatron_rt_row_record> trainRows, forwardRows;
  std::vector<galvatron_rt_arg_record> args;
  std::vector<galvatron_rt_axis_record> axes;
  std::vector<galvatron_rt_group_record> groups;
  std::vector<galvatron_rt_shift_record> shifts;
  std::vector<galvatron_rt_split_record> splits;
  std::vector<galvatron_rt_function> functions;
  Words dims, words;
  std::string strings;
  galvatron_rt_image image;
};

#endif // GALVATRON_TEST_RUNTIME_IMAGEBUILDER_H

// ImageTest.cpp: a table that is not well formed is refused with a message, whatever is wrong with
// it.
#include "Sample.h"

#include <functional>
#include <gtest/gtest.h>

namespace {

std::string complaint(const std::function<void(ImageBuilder &)> &change) {
  ImageBuilder builder;
  buildSample(builder, {});
  change(builder);
  return builder.complaint();
}

std::string
imageComplaint(const std::function<void(galvatron_rt_image &, ImageBuilder &)> &change) {
  ImageBuilder builder;
  buildSample(builder, {});
  builder.build();
  change(builder.image, builder);
  char error[512] = "";
  return galvatron_rt_check_image(&builder.image, error, sizeof(error)) ? error : "";
}

using B = ImageBuilder;

TEST(ImageTest, TakesTheSample) {
  EXPECT_EQ(complaint([](B &) {}), "");
}

TEST(ImageTest, ChecksTheHeader) {
  using I = galvatron_rt_image;
  char error[512] = "";
  EXPECT_EQ(galvatron_rt_check_image(nullptr, error, sizeof(error)), 1);
  EXPECT_STREQ(error, "program table: there is none");
  EXPECT_EQ(imageComplaint([](I &i, B &) { i.magic = 7; }),
            "program table: magic is 7, wanted 1414682183");
  EXPECT_EQ(imageComplaint([](I &i, B &) { i.version = 99; }),
            "program table: version is 99, this runtime reads 4");
  EXPECT_EQ(imageComplaint([](I &i, B &) { i.size = 8; }), "program table: size is 8, wanted 64");
  EXPECT_EQ(imageComplaint([](I &i, B &) {
              --i.n_strings;
              i.n_strings -= 3;
            }),
            "program table: the strings must start and end with a NUL");
  EXPECT_EQ(imageComplaint([](I &i, B &) { i.n_words = 0; }), "program table: there are no words");
  EXPECT_EQ(imageComplaint([](I &i, B &) { i.functions = nullptr; }),
            "program table: n_functions is 6");
  EXPECT_EQ(imageComplaint([](I &i, B &) { i.n_functions = 5; }),
            "program table: 6 function records for 5 functions");
}

TEST(ImageTest, ChecksTheSections) {
  using I = galvatron_rt_image;
  EXPECT_EQ(imageComplaint([](I &, B &b) {
              b.words[0] = int64_t(1) << 60;
            }).rfind("program table: the list of", 0),
            0u);
  EXPECT_EQ(imageComplaint([](I &, B &b) { b.words[1] = 77; }),
            "program table: section of unknown kind 77");
  EXPECT_EQ(imageComplaint([](I &, B &b) { b.words[5] = 1; }),
            "program table: two sections of kind 1");
  EXPECT_EQ(imageComplaint([](I &, B &b) { b.words[2] = 3; }),
            "program table: records of section config have 3 words, this runtime reads 23");
  EXPECT_NE(
      imageComplaint([](I &, B &b) { b.words[8] = int64_t(1) << 62; }).find("does not fit into"),
      std::string::npos);
  EXPECT_EQ(imageComplaint([](I &, B &b) { b.words[3] = 0; }),
            "program table: wanted one config record, found 0");
  // However long the words are cut, the rest is refused and nothing beyond is read.
  ImageBuilder whole;
  buildSample(whole, {});
  whole.build();
  for (int64_t n = 1; n < whole.image.n_words; ++n) {
    std::vector<int64_t> cut(whole.words.begin(), whole.words.begin() + n);
    galvatron_rt_image image = whole.image;
    image.words = cut.data();
    image.n_words = n;
    char error[512] = "";
    EXPECT_EQ(galvatron_rt_check_image(&image, error, sizeof(error)), 1) << n;
  }
}

// Any single word may be anything: the answer is yes or a message, never a crash.
TEST(ImageTest, SurvivesAnyOneWrongWord) {
  ImageBuilder whole;
  buildSample(whole, {});
  whole.build();
  const int64_t values[] = {-1, 0, 1, 7, 1000, int64_t(1) << 40, INT64_MAX, INT64_MIN};
  for (size_t w = 0; w < whole.words.size(); ++w)
    for (int64_t value : values) {
      int64_t before = whole.words[w];
      whole.words[w] = value;
      char error[512] = "";
      if (galvatron_rt_check_image(&whole.image, error, sizeof(error)))
        EXPECT_NE(error[0], '\0') << w;
      whole.words[w] = before;
    }
}

TEST(ImageTest, ChecksTheConfig) {
  EXPECT_EQ(complaint([](B &b) { b.config.threads = 0; }), "program table: threads is 0");
  EXPECT_EQ(complaint([](B &b) { b.config.cpu_level = 2; }), "program table: cpu_level is 2");
  EXPECT_EQ(complaint([](B &b) { b.config.optimizer = 9; }), "program table: optimizer is 9");
  EXPECT_EQ(complaint([](B &b) { b.config.arena_bytes = -1; }), "program table: arena_bytes is -1");
  EXPECT_EQ(complaint([](B &b) { b.config.stages = 2; }),
            "program table: 1 ranks do not divide into 2 stages");
  EXPECT_EQ(complaint([](B &b) { b.config.batch_rows = 0; }),
            "program table: micro_batches is 2, batch_rows is 0, tokens_per_step is 0");
  EXPECT_EQ(complaint([](B &b) { b.config.random_weights = 2; }),
            "program table: random_weights is 2");
  EXPECT_EQ(complaint([](B &b) { b.config.cpu_features = b.string("avx2,warp-drive"); }),
            "program table: cpu feature 'warp-drive' is not known");
  EXPECT_EQ(complaint([](B &b) { b.config.loss = 99; }), "program table: loss is tensor 99 of 15");
  EXPECT_EQ(complaint([](B &b) { b.config.loss = 0; }),
            "program table: loss must be 1 f32 with role 6, found 48 bytes of f32 with role 4");
  EXPECT_EQ(complaint([](B &b) { b.functions[0] = nullptr; }),
            "program table: function 'begin' is null or has frame_bytes 0");
}

TEST(ImageTest, ChecksTensors) {
  EXPECT_EQ(complaint([](B &b) { b.tensors[0].role = 12; }),
            "program table: tensor 'x' has role 12");
  EXPECT_EQ(complaint([](B &b) { b.tensors[0].dtype = 5; }),
            "program table: tensor 'x' has dtype 5");
  EXPECT_EQ(complaint([](B &b) { b.tensors[0].rank = 9; }),
            "program table: tensor 'x' has rank 9, at most 8 is possible");
  EXPECT_NE(complaint([](B &b) { b.tensors[0].dims = 1000; }).find("has its dimensions at 1000 of"),
            std::string::npos);
  EXPECT_EQ(complaint([](B &b) { b.tensors[0].bytes = 52; }),
            "program table: tensor 'x' says 52 bytes, its shape [4, 3] has 48");
  EXPECT_NE(complaint([](B &b) {
              b.tensors[0].offset = b.config.arena_bytes;
            }).find("does not fit into the arena"),
            std::string::npos);
  EXPECT_EQ(complaint([](B &b) { b.tensors[0].offset = 4; }),
            "program table: tensor 'x' is at 4, which is not a multiple of 64");
  EXPECT_EQ(complaint([](B &b) { b.tensors[0].batch_dim = 0; }),
            "program table: tensor 'x' has batch_dim 0");
  EXPECT_EQ(complaint([](B &b) { b.tensors[1].name = b.tensors[0].name; }),
            "program table: two inputs or outputs are called 'x'");
  EXPECT_EQ(complaint([](B &b) { b.tensors[9].batch_dim = 1; }),
            "program table: two inputs or outputs are called 'y'")
      << "pieces of one output are split alike";
  EXPECT_EQ(complaint([](B &b) { b.tensors[3].offset = b.tensors[2].offset; }),
            "program table: tensors 'w' and 'b' share bytes of the arena");
  EXPECT_NE(complaint([](B &b) {
              b.tensors[0].name = 1 << 20;
            }).find("tensor 0 has a name at 1048576 of"),
            std::string::npos);
}

TEST(ImageTest, ChecksSavedTensorsAndViews) {
  EXPECT_EQ(complaint([](B &b) { b.saved[1].name = b.saved[0].name; }),
            "program table: two saved tensors are called 'linear.weight', or it is empty");
  EXPECT_EQ(complaint([](B &b) { b.aliases[0].saved = 3; }),
            "program table: alias 'head.weight' is of saved tensor 3 of 3");
  EXPECT_EQ(complaint([](B &b) { b.saved[0].kind = 3; }),
            "program table: saved tensor 'linear.weight' has kind 3");
  EXPECT_EQ(complaint([](B &b) { b.saved[0].init = 3; }),
            "program table: saved tensor 'linear.weight' has init 3");
  EXPECT_EQ(complaint([](B &b) { b.saved[0].dtype = 1; }),
            "program table: saved tensor 'linear.weight' is trainable and i64");
  EXPECT_EQ(complaint([](B &b) { b.views.pop_back(); }),
            "program table: tensor 'scale' has 0 views, wanted 1");
  EXPECT_EQ(complaint([](B &b) { b.views[0].saved = 9; }),
            "program table: view 0 is of tensor 2 and saved tensor 9");
  EXPECT_EQ(complaint([](B &b) { b.views[0].tensor = 0; }),
            "program table: the view of tensor 'x', which has role 4");
  EXPECT_EQ(complaint([](B &b) { b.views[0].primary = 2; }),
            "program table: the view of tensor 'w' has primary 2");
  EXPECT_EQ(complaint([](B &b) { b.views[0].primary = 0; }),
            "program table: the primary views of saved tensor 'linear.weight' leave a gap at "
            "element 0 of 6");
  EXPECT_EQ(complaint([](B &b) { b.views[0].offset = 1; }),
            "program table: the view of tensor 'w' reaches element 6 of a saved tensor of 6");
  EXPECT_EQ(complaint([](B &b) { b.views[0].offset = -1; }),
            "program table: the view of tensor 'w' starts at element -1");
  EXPECT_EQ(complaint([](B &b) { b.views[0].strides = b.pool({0, 1}); }),
            "program table: the view of tensor 'w' gives two of its elements one place, or not one "
            "after the other: a "
            "stride of 0 over 1 elements");
  EXPECT_EQ(complaint([](B &b) { b.views[0].strides = b.pool({-1, 1}); }),
            "program table: the view of tensor 'w' has stride -1 in dimension 0");
  EXPECT_EQ(complaint([](B &b) { b.state[0].tensor = b.state[1].tensor; }),
            "program table: 'b.grad' [2] with role 3 cannot be state of kind 0 of 'w' [3, 2] with "
            "role 0");
  EXPECT_EQ(complaint([](B &b) { b.state.push_back(b.state[0]); }),
            "program table: parameter 'w' has two states of kind 0");
}

TEST(ImageTest, ChecksRows) {
  EXPECT_EQ(complaint([](B &b) { b.trainRows[0].action = 9; }),
            "program table: training row 0 ('begin') has action 9");
  EXPECT_EQ(complaint([](B &b) { b.trainRows[0].function = 6; }),
            "program table: training row 0 ('begin') runs function 6 of 6");
  EXPECT_EQ(complaint([](B &b) { b.trainRows[1].micro_batch = 2; }),
            "program table: training row 1 ('linear') is for micro-batch 2 of 2");
  EXPECT_NE(complaint([](B &b) {
              b.forwardRows[0].n_args = 1000;
            }).find("forward row 0 ('begin') has 1000 args"),
            std::string::npos);
  EXPECT_NE(complaint([](B &b) {
              b.functionRecords[0].frame_bytes = 64;
            }).find("has no frame, its function needs 64 bytes"),
            std::string::npos);
  EXPECT_NE(complaint([](B &b) { b.args[0].bytes = 1 << 20; }).find("arg 0 (1048576 bytes at"),
            std::string::npos);
  EXPECT_NE(complaint([](B &b) { b.args[0].offset += 2; }).find("which is not a multiple of 4"),
            std::string::npos);
  EXPECT_NE(complaint([](B &b) { b.args[0].access = 4; }).find("has dtype 0 and access 4"),
            std::string::npos);
  EXPECT_EQ(complaint([](B &b) { b.trainRows[2].tensor = 0; }),
            "program table: training row 2 ('publish') publishes tensor 0 of micro-batch 0");
  EXPECT_EQ(complaint([](B &b) { b.trainRows[2].micro_batch = -1; }),
            "program table: training row 2 ('publish') publishes tensor 9 of micro-batch -1");
  EXPECT_EQ(complaint([](B &b) {
              b.trainRows[2].micro_batch = -1;
              b.tensors[9].batch_dim = b.tensors[10].batch_dim = -1;
            }),
            "");
}

TEST(ImageTest, ChecksTheMesh) {
  auto mesh = [](B &b) {
    b.axes = {{b.string("a"), 2}, {b.string("b"), 3}};
    b.config.ranks = 6;
    b.groups = {{b.string("a,b"), b.pool({0, 1}), 2}};
  };
  auto with = [&](auto change) {
    return complaint([&](B &b) {
      mesh(b);
      change(b);
    });
  };
  EXPECT_EQ(with([](B &) {}), "");
  EXPECT_EQ(with([](B &b) { b.config.ranks = 5; }),
            "program table: the mesh has 6 ranks, the program 5");
  EXPECT_EQ(with([](B &b) { b.axes[1].size = 1; }), "program table: axis 'b' has size 1");
  EXPECT_EQ(with([](B &b) { b.groups[0].n_axes = 0; }).substr(0, 41),
            "program table: group 'a,b' has 0 axes fro");
  EXPECT_EQ(with([](B &b) { b.groups[0].axes = b.pool({1, 0}); }),
            "program table: group 'a,b' has axis 0 of 2 after axis 1");
  EXPECT_EQ(with([](B &b) { b.shifts = {{2, 4}}; }),
            "program table: shift 0 is of 4 bytes along axis 2 of 2");
  EXPECT_NE(with([](B &b) { b.args[0].n_shifts = 1; }).find("has 1 shifts from 0 of 0"),
            std::string::npos);
  auto shifted = [&](int64_t bytes, int64_t offset = 0) {
    return with([&](B &b) {
      b.args[0].offset += offset;
      b.shifts = {{0, bytes}};
      b.args[0].n_shifts = 1;
    });
  };
  EXPECT_NE(shifted(2).find("is shifted by 2 bytes, inside an element of 4"), std::string::npos);
  EXPECT_NE(shifted(int64_t(1) << 40).find("is shifted out of the arena"), std::string::npos);
  int64_t half = 0;
  complaint([&](B &b) { half = b.config.arena_bytes / 2; });
  EXPECT_NE(shifted(half, half).find("does not fit into the arena"), std::string::npos);
}

TEST(ImageTest, ChecksPieces) {
  auto with = [](auto change) {
    return complaint([&](B &b) {
      b.axes = {{b.string("a"), 2}, {b.string("b"), 3}};
      b.config.ranks = 6;
      b.groups = {{b.string("a"), b.pool({0}), 1}};
      b.splits = {{2, 0, 0, 6}};
      b.config.staging_offset = b.allocate(64);
      b.config.staging_bytes = 64;
      b.config.staging_group = 0;
      change(b);
    });
  };
  // The tensor is twice as large as the saved tensor that it views.
  EXPECT_EQ(with([](B &) {}),
            "program table: the view of tensor 'w' gives two of its elements one place, or not one "
            "after the other: a stride of 3 over 6 elements");
  EXPECT_EQ(with([](B &b) { b.splits[0].dim = 2; }),
            "program table: split 0 is of dimension 2 of tensor 2 along axis 0");
  EXPECT_EQ(with([](B &b) { b.splits[0].tensor = 0; }),
            "program table: split 0 is of dimension 0 of tensor 0 along axis 0");
  EXPECT_EQ(with([](B &b) { b.splits = {{2, 0, 0, 6}, {2, 1, 0, 4}}; }),
            "program table: tensor 'w' is split twice along axis 'a'");
  EXPECT_EQ(with([](B &b) { b.config.staging_bytes = 12; }),
            "program table: ranks have pieces, staging of 12 bytes and staging group 0 of 1");
  EXPECT_EQ(with([](B &b) { b.splits[0].size = 4; }),
            "program table: a split cuts 4 rows into 2 pieces of 3");
  EXPECT_EQ(with([](B &b) { b.splits[0].size = 0; }),
            "program table: a split cuts 0 rows into 2 pieces of 3");
  EXPECT_EQ(with([](B &b) { b.splits = {{2, 0, 1, 9}}; }),
            "program table: the staging group lacks axis 'b', which splits 'w'");
  EXPECT_NE(with([](B &b) { b.config.staging_offset = b.config.arena_bytes; })
                .find("the staging area"),
            std::string::npos);
}

TEST(ImageTest, ChecksMessages) {
  using Row = galvatron_rt_row_record;
  auto with = [](auto change) {
    return complaint([&](B &b) {
      b.axes = {{b.string("a"), 2}};
      b.config.ranks = b.config.stages = 2;
      b.config.stage = 1;
      b.config.max_sent = 1;
      b.groups = {{b.string("a"), b.pool({0}), 1}};
      b.config.staging_group = 0;
      b.config.staging_bytes = 64;
      b.config.staging_offset = b.allocate(64);
      int64_t first = static_cast<int64_t>(b.args.size());
      b.args.push_back({b.allocate(64), 64, GALVATRON_RT_ACCESS_READ, GALVATRON_RT_F32, 0, 0, 0});
      std::vector<Row> rows;
      for (int64_t action : {GALVATRON_RT_ACTION_SEND, GALVATRON_RT_ACTION_WAIT_SENT,
                             GALVATRON_RT_ACTION_RECEIVE})
        rows.push_back({action, -1, -1, first, 1, -1, -1, b.string("h"), -1, -1, 0});
      change(b, rows);
      b.forwardRows.insert(b.forwardRows.end(), rows.begin(), rows.end());
    });
  };
  auto contains = [](const std::string &text, const std::string &part) {
    return text.find(part) != std::string::npos ? std::string() : text;
  };
  EXPECT_EQ(with([](B &, std::vector<Row> &) {}), "");
  EXPECT_EQ(contains(with([](B &, std::vector<Row> &rows) { rows[2].peer = 1; }),
                     "of stage 1 names stage 1 of 2"),
            "");
  EXPECT_EQ(contains(with([](B &, std::vector<Row> &rows) { rows[0].peer = 2; }),
                     "of stage 1 names stage 2 of 2"),
            "");
  EXPECT_EQ(contains(with([](B &, std::vector<Row> &rows) { rows[0].n_args = 0; }),
                     "has 0 args, a message has 1"),
            "");
  EXPECT_EQ(contains(with([](B &, std::vector<Row> &rows) { rows.erase(rows.begin()); }),
                     "waits for a message to stage 0 that no row before it sends"),
            "");
  EXPECT_EQ(contains(with([](B &, std::vector<Row> &rows) { rows.erase(rows.begin() + 1); }),
                     "the forward table ends with 1 messages to stage 0 that no row waits for"),
            "");
  EXPECT_EQ(contains(with([](B &, std::vector<Row> &rows) { rows.insert(rows.begin(), rows[0]); }),
                     "is message 2 on its way to stage 0, max_sent is 1"),
            "");
  EXPECT_EQ(with([](B &b, std::vector<Row> &) { b.config.stage = 2; }),
            "program table: it is of stage 2 of 2 with max_sent 1");
  EXPECT_EQ(with([](B &b, std::vector<Row> &) {
              b.axes = {{b.string("a"), 4}};
              b.config.ranks = 4;
            }),
            "program table: the outermost axes have 4 points where there are 2 stages");
  EXPECT_EQ(with([](B &b, std::vector<Row> &) {
              b.axes.push_back({b.string("b"), 2});
              b.config.ranks = 4;
              b.groups[0].axes = b.pool({1});
            }),
            "program table: the staging group lacks axis 'a', which is of stages");
}

TEST(ImageTest, ChecksCollectives) {
  using Row = galvatron_rt_row_record;
  using Arg = galvatron_rt_arg_record;
  auto with = [](int64_t action, auto change) {
    return complaint([&](B &b) {
      b.axes = {{b.string("a"), 2}};
      b.config.ranks = 2;
      b.groups = {{b.string("a"), b.pool({0}), 1}};
      int64_t in = b.allocate(64), out = b.allocate(128), first = static_cast<int64_t>(b.args.size());
      int64_t bytes = action == GALVATRON_RT_ACTION_ALL_GATHER ? 128 : 64;
      b.args.push_back({in, 64, GALVATRON_RT_ACCESS_READ, GALVATRON_RT_F32, 0, 0, 0});
      b.args.push_back({out, bytes, GALVATRON_RT_ACCESS_WRITE, GALVATRON_RT_F32, 0, 0, 0});
      int64_t monoid = action == GALVATRON_RT_ACTION_ALL_REDUCE ? GALVATRON_RT_MONOID_SUM : -1;
      b.args.push_back({out, bytes, GALVATRON_RT_ACCESS_WRITE, GALVATRON_RT_F32, 0, 0, 0});
      b.trainRows.push_back({action, -1, -1, first, 2, -1, -1, b.string("all"), 0, monoid, -1});
      b.trainRows.push_back({GALVATRON_RT_ACTION_COMPLETE, -1, -1, first + 2, 1, -1, -1, b.string("all"), 0, -1, -1});
      Arg *args = &b.args[static_cast<size_t>(first)];
      change(b, b.trainRows[b.trainRows.size() - 2], args[0], args[1]);
      args = &b.args[static_cast<size_t>(first)];
      args[2].offset = args[1].offset;
    });
  };
  auto reduce = [&](auto change) { return with(GALVATRON_RT_ACTION_ALL_REDUCE, change); };
  auto withRows = [&](auto change) {
    return with(GALVATRON_RT_ACTION_ALL_REDUCE, [&](B &b, Row &, Arg &, Arg &) { change(b.trainRows); });
  };
  auto gather = [&](auto change) { return with(GALVATRON_RT_ACTION_ALL_GATHER, change); };
  auto ends = [](const std::string &text, const std::string &end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0
               ? std::string()
               : text;
  };
  EXPECT_EQ(reduce([](B &, Row &, Arg &, Arg &) {}), "");
  EXPECT_EQ(reduce([](B &, Row &, Arg &in, Arg &out) { out.offset = in.offset; }), "");
  EXPECT_EQ(gather([](B &, Row &, Arg &, Arg &) {}), "");
  EXPECT_EQ(ends(reduce([](B &, Row &row, Arg &, Arg &) { row.group = 1; }), "is over group 1 of 1"), "");
  EXPECT_EQ(ends(reduce([](B &, Row &row, Arg &, Arg &) { row.n_args = 1; }),
                 "has 1 args, a collective has 2"),
            "");
  EXPECT_EQ(ends(reduce([](B &, Row &row, Arg &, Arg &) { row.monoid = 3; }), "has monoid 3"), "");
  EXPECT_EQ(ends(reduce([](B &, Row &, Arg &in, Arg &out) { in.dtype = out.dtype = GALVATRON_RT_I1; }),
                 "reduces i1"),
            "");
  EXPECT_EQ(ends(gather([](B &, Row &, Arg &, Arg &out) { out.bytes = 64; }),
                 "reads 64 bytes of f32 and writes 64 of f32"),
            "");
  EXPECT_EQ(ends(reduce([](B &b, Row &, Arg &in, Arg &) {
                   b.shifts = {{0, 0}};
                   in.n_shifts = 1;
                 }),
                 "has an argument that is shifted"),
            "");
  EXPECT_EQ(ends(gather([](B &, Row &, Arg &in, Arg &out) { out.offset = in.offset; }),
                 "has arguments that overlap"),
            "");
  // What is begun is completed once, and left alone until then.
  using Rows = std::vector<Row>;
  EXPECT_EQ(ends(withRows([](Rows &rows) { rows.pop_back(); }), "ends before 'all' is complete"), "");
  EXPECT_EQ(ends(withRows([](Rows &rows) { rows.push_back(rows.back()); }),
                 "completes what no row before it has begun"),
            "");
  EXPECT_EQ(ends(withRows([](Rows &rows) { rows.back().group = 1; }), "is over group 1 of 1"), "");
  EXPECT_EQ(ends(withRows([](Rows &rows) { rows.back().n_args = 0; }), "has 0 args, it has 1"), "");
  EXPECT_EQ(ends(withRows([](Rows &rows) { rows.insert(rows.end() - 1, rows[rows.size() - 2]); }),
                 "arg 1 is memory of 'all', which is under way"),
            "");
}

} // namespace

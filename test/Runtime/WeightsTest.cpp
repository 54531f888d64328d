// WeightsTest.cpp: views, ties, conversions, and names that do not match.
#include "checkpoint/Weights.h"
#include "ImageContextTest.h"
#include "TestFiles.h"
#include "checkpoint/Random.h"

#include <cmath>

using namespace galvatron_rt;

namespace {

class WeightsTest : public ImageContextTest {
protected:
  int64_t parameter(const std::string &name, const ImageBuilder::Words &shape) {
    return builder.tensor(name, GALVATRON_RT_ROLE_PARAMETER, GALVATRON_RT_F32, shape);
  }
  std::string loadError(const std::string &header, const std::string &bytes,
                        LoadScope scope = LoadScope::Everything) {
    writeFile(path, safetensorsBytes(header, bytes));
    try {
      loadWeights(*ctx, path, scope);
    } catch (const Error &e) {
      std::string text = e.what(), prefix = "file '" + path + "': ";
      for (size_t at; (at = text.find(prefix)) != std::string::npos;)
        text.erase(at, prefix.size());
      return text;
    }
    return "";
  }
  static std::string entry(const std::string &name, const std::string &dtype,
                           const std::string &shape, int begin, int end) {
    return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
           ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  }

  TemporaryFolder folder;
  std::string path = folder / "x.safetensors";
};

// A fused projection [e, q + k + v] whose thirds are parameters of their own, one of them split
// into heads and transposed; and a second, not primary, view of everything.
TEST_F(WeightsTest, UndoesViewsOnSaving) {
  const int64_t e = 5, h = 2, d = 3, n = 3 * h * d;
  int64_t fused =
      builder.savedTensor("qkv", GALVATRON_RT_SAVED_TRAINABLE, GALVATRON_RT_F32, {e, n});
  int64_t q = parameter("q", {e, h, d}), k = parameter("k", {h, d, e}),
          v = parameter("v", {e, h * d}), all = parameter("all", {n, e});
  builder.view(q, fused, 0, {n, d, 1});
  builder.view(k, fused, h * d, {d, 1, n});
  builder.view(v, fused, 2 * h * d, {n, 1});
  builder.view(all, fused, 0, {1, n}, 0);
  start();
  std::vector<float> values(static_cast<size_t>(e * n));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i);
  std::string file =
      safetensorsBytes("{" + entry("qkv", "F32", "[5,18]", 0, 360) + "}", bytesOf(values));
  EXPECT_EQ(loadError("{" + entry("qkv", "F32", "[5,18]", 0, 360) + "}", bytesOf(values)), "");
  for (int64_t i = 0; i < e; ++i)
    for (int64_t j = 0; j < h * d; ++j) {
      EXPECT_EQ(data(q)[i * h * d + j], values[i * n + j]);
      EXPECT_EQ(data(k)[j * e + i], values[i * n + h * d + j]);
      EXPECT_EQ(data(v)[i * h * d + j], values[i * n + 2 * h * d + j]);
      EXPECT_EQ(data(all)[j * e + i], values[i * n + j]);
    }
  data(all)[0] = -1; // not what is saved
  WeightsSaver(*ctx, folder / "y.safetensors", WeightsSaver::Kind::Parameters).save();
  SafeTensorsReader saved(folder / "y.safetensors");
  std::vector<float> back(values.size());
  saved.read(saved.entries().at("qkv"), 0, back.data(), 360);
  EXPECT_EQ(back, values);
}

// Five columns over four ranks are pieces of two: the third has one and the fourth none, and their
// padding has no place in the file.
TEST_F(WeightsTest, PaddingHasNoPlaceInFiles) {
  const int64_t rows = 3, columns = 5, piece = 2;
  int64_t saved =
      builder.savedTensor("w", GALVATRON_RT_SAVED_TRAINABLE, GALVATRON_RT_F32, {rows, columns});
  int64_t w = parameter("w", {rows, piece});
  builder.view(w, saved, 0, {columns, 1});
  builder.axes = {{builder.string("a"), 4}};
  builder.config.ranks = 4;
  builder.groups = {{builder.string("a"), builder.pool({0}), 1}};
  builder.splits = {{w, 1, 0, columns}};
  builder.config.staging_offset = builder.allocate(64);
  builder.config.staging_bytes = 64;
  builder.config.staging_group = 0;
  Image image(builder.build());
  std::vector<std::string> walks;
  for (int64_t rank = 0; rank < 4; ++rank) {
    std::string walk;
    for (ViewCursor cursor = makeCursor(image, image.views[0], {rank}); !cursor.done();
         cursor.advance(cursor.length()))
      for (int64_t i = 0; i < cursor.length(); ++i)
        walk += std::to_string(cursor.tensorBegin() + i * cursor.tensorStep()) + ":" +
                std::to_string(cursor.savedBegin() + i) + " ";
    walks.push_back(walk);
  }
  EXPECT_EQ(walks[0], "0:0 1:1 2:5 3:6 4:10 5:11 ");
  EXPECT_EQ(walks[1], "0:2 1:3 2:7 3:8 4:12 5:13 ");
  EXPECT_EQ(walks[2], "0:4 2:9 4:14 ");
  EXPECT_EQ(walks[3], "");
}

// More elements than a buffer holds, transposed.
TEST_F(WeightsTest, StreamsLargeTensors) {
  const int64_t rows = 700, columns = 900;
  int64_t saved =
      builder.savedTensor("w", GALVATRON_RT_SAVED_TRAINABLE, GALVATRON_RT_F32, {rows, columns});
  int64_t w = parameter("w", {columns, rows});
  builder.view(w, saved, 0, {1, columns});
  start();
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i);
  ASSERT_EQ(loadError("{" + entry("w", "F32", "[700,900]", 0, 2520000) + "}", bytesOf(values)), "");
  EXPECT_EQ(data(w)[1], values[900]);
  EXPECT_EQ(data(w)[rows * columns - 2], values[static_cast<size_t>(rows * columns) - 1 - 900]);
  WeightsSaver(*ctx, folder / "y.safetensors", WeightsSaver::Kind::Parameters).save();
  SafeTensorsReader file(folder / "y.safetensors");
  std::vector<float> back(values.size());
  file.read(file.entries().at("w"), 0, back.data(), 2520000);
  EXPECT_EQ(back, values);
}

TEST_F(WeightsTest, ConvertsHalfPrecision) {
  int64_t saved = builder.savedTensor("w", GALVATRON_RT_SAVED_FROZEN, GALVATRON_RT_F32, {6});
  int64_t w = parameter("w", {6});
  builder.view(w, saved, 0, {1});
  start();
  std::vector<uint16_t> half = {0x3c00, 0xc000, 0x0001, 0x7c00, 0x8000, 0x7bff};
  EXPECT_EQ(loadError("{" + entry("w", "F16", "[6]", 0, 12) + "}", bytesOf(half)), "");
  const float expected[] = {1, -2, std::ldexp(1.0f, -24), INFINITY, -0.0f, 65504};
  EXPECT_EQ(std::memcmp(data(w), expected, sizeof(expected)), 0);
  std::vector<uint16_t> brain = {0x3f80, 0xc000, 0x4049, 0x7f80, 0x8000, 0x0001};
  EXPECT_EQ(loadError("{" + entry("w", "BF16", "[6]", 0, 12) + "}", bytesOf(brain)), "");
  EXPECT_EQ(data(w)[0], 1);
  EXPECT_EQ(data(w)[1], -2);
  EXPECT_EQ(data(w)[2], 3.140625f);
  std::vector<uint16_t> nan = {0x7e00, 0, 0, 0, 0, 0};
  EXPECT_EQ(loadError("{" + entry("w", "F16", "[6]", 0, 12) + "}", bytesOf(nan)), "");
  EXPECT_TRUE(std::isnan(data(w)[0]));
}

TEST_F(WeightsTest, LoadsTiedWeightsFromAnyName) {
  int64_t saved =
      builder.savedTensor("wte.weight", GALVATRON_RT_SAVED_TRAINABLE, GALVATRON_RT_F32, {2});
  builder.alias("lm_head.weight", saved);
  int64_t w = parameter("w", {2});
  builder.view(w, saved, 0, {1});
  start();
  std::vector<float> a = {1, 2}, twice = {3, 4, 3, 4}, differ = {3, 4, 3, 5};
  EXPECT_EQ(loadError("{" + entry("lm_head.weight", "F32", "[2]", 0, 8) + "}", bytesOf(a)), "");
  EXPECT_EQ(data(w)[1], 2);
  std::string both = "{" + entry("lm_head.weight", "F32", "[2]", 0, 8) + "," +
                     entry("wte.weight", "F32", "[2]", 8, 16) + "}";
  EXPECT_EQ(loadError(both, bytesOf(twice)), "");
  EXPECT_EQ(data(w)[1], 4);
  EXPECT_EQ(loadError(both, bytesOf(differ)),
            "tensors 'lm_head.weight' and 'wte.weight' are one in this model, but differ");
  WeightsSaver(*ctx, folder / "y.safetensors", WeightsSaver::Kind::Parameters).save();
  EXPECT_EQ(SafeTensorsReader(folder / "y.safetensors").entries().size(), 2u);
}

TEST_F(WeightsTest, NamesTheFirstFewOfManyThatDoNotMatch) {
  std::string header;
  for (int64_t i = 0; i < 8; ++i) {
    std::string name = concat("layers.", i, ".weight");
    int64_t saved =
        builder.savedTensor(name.c_str(), GALVATRON_RT_SAVED_TRAINABLE, GALVATRON_RT_F32, {2});
    builder.view(parameter(name.c_str(), {2}), saved, 0, {1});
    header += (i ? "," : "") + entry(concat("other", i).c_str(), "F32", "[2]", i * 8, i * 8 + 8);
  }
  start();
  std::string error = loadError("{" + header + "}", std::string(64, '\0'));
  EXPECT_NE(error.find("tensor 'other4' is not in the model\nand 3 more tensors are not in the model\n"
                       "lacks tensor 'layers.0.weight' of shape [2]\n"),
            std::string::npos)
      << error;
  EXPECT_NE(error.find("lacks tensor 'layers.4.weight' of shape [2]\nand 3 more tensors are lacking"),
            std::string::npos)
      << error;
}

TEST_F(WeightsTest, ReportsAllNamesThatDoNotMatch) {
  int64_t a =
      builder.savedTensor("layers.0.weight", GALVATRON_RT_SAVED_TRAINABLE, GALVATRON_RT_F32, {2});
  int64_t b =
      builder.savedTensor("layers.1.weight", GALVATRON_RT_SAVED_TRAINABLE, GALVATRON_RT_F32, {2});
  int64_t c = builder.savedTensor("mask", GALVATRON_RT_SAVED_CONSTANT, GALVATRON_RT_F32, {2});
  builder.view(parameter("a", {2}), a, 0, {1});
  builder.view(parameter("b", {2}), b, 0, {1});
  int64_t mask = builder.tensor("mask", GALVATRON_RT_ROLE_CONSTANT, GALVATRON_RT_F32, {2});
  builder.view(mask, c, 0, {1});
  start();
  std::string data(24, '\0');
  EXPECT_EQ(loadError("{" + entry("layers.0.weigth", "F32", "[2]", 0, 8) + "," +
                          entry("layers.1.weight", "F32", "[1,2]", 8, 16) + "," +
                          entry("zzzzzzzzzzzzzzz", "F32", "[2]", 16, 24) + "}",
                      data, LoadScope::Parameters),
            "tensor 'layers.0.weigth' is not in the model; the nearest name is 'layers.0.weight'\n"
            "tensor 'zzzzzzzzzzzzzzz' is not in the model\n"
            "tensor 'layers.1.weight' has shape [1, 2], wanted [2]\n"
            "lacks tensor 'layers.0.weight' of shape [2]\n"
            "lacks tensor 'layers.1.weight' of shape [2]");
  EXPECT_EQ(loadError("{" + entry("layers.0.weight", "F32", "[2]", 0, 8) + "," +
                          entry("layers.1.weight", "I32", "[2]", 8, 16) + "," +
                          entry("mask", "F32", "[2]", 16, 24) + "}",
                      data),
            "tensor 'layers.1.weight' has dtype I32, wanted F32\n"
            "lacks tensor 'layers.1.weight' of shape [2]");
  std::string parameters = "{" + entry("layers.0.weight", "F32", "[2]", 0, 8) + "," +
                           entry("layers.1.weight", "F32", "[2]", 8, 16) + "}";
  EXPECT_EQ(loadError(parameters, data.substr(0, 16)), "lacks tensor 'mask' of shape [2]");
  EXPECT_EQ(loadError(parameters, data.substr(0, 16), LoadScope::Parameters), "");
  EXPECT_EQ(loadError("{" + entry("mask", "F32", "[2]", 0, 8) + "}",
                      std::string("\0\0\x80\x3f\0\0\0\x40", 8), LoadScope::Constants),
            "");
  EXPECT_EQ(this->data(mask)[1], 2);
}

TEST_F(WeightsTest, SavesIntegersAndFlags) {
  int64_t i = builder.savedTensor("steps", GALVATRON_RT_SAVED_FROZEN, GALVATRON_RT_I64, {2});
  int64_t f = builder.savedTensor("flags", GALVATRON_RT_SAVED_FROZEN, GALVATRON_RT_I1, {3});
  builder.view(builder.tensor("steps", GALVATRON_RT_ROLE_PARAMETER, GALVATRON_RT_I64, {2}), i, 0,
               {1});
  builder.view(builder.tensor("flags", GALVATRON_RT_ROLE_PARAMETER, GALVATRON_RT_I1, {3}), f, 0,
               {1});
  start();
  std::string data = bytesOf(std::vector<int64_t>{7, -8}) + std::string("\1\0\1", 3);
  EXPECT_EQ(loadError("{" + entry("steps", "I64", "[2]", 0, 16) + "," +
                          entry("flags", "BOOL", "[3]", 16, 19) + "}",
                      data),
            "");
  WeightsSaver(*ctx, folder / "y.safetensors", WeightsSaver::Kind::Parameters).save();
  std::string bytes = readFile(folder / "y.safetensors");
  EXPECT_EQ(bytes.substr(bytes.size() - 19), data);
}

TEST_F(WeightsTest, RandomValuesDependOnNameAndIndexOnly) {
  // Known answer of Philox4x32-10 (from its authors' test vectors).
  RandomBlock zero = philox(0, 0, 0);
  EXPECT_EQ(zero.word[0], 0x6627e8d5u);
  EXPECT_EQ(zero.word[3], 0x9b00dbd8u);
  const int64_t n = 200001;
  std::vector<float> whole(n), parts(n);
  uint64_t stream = randomStream("h.0.attn.c_attn.weight");
  fillNormal(1, stream, 0, n, 0.02f, whole.data());
  for (int64_t begin = 0; begin < n; begin += 777)
    fillNormal(1, stream, begin, std::min<int64_t>(777, n - begin), 0.02f, parts.data() + begin);
  EXPECT_EQ(whole, parts);
  double sum = 0, square = 0;
  for (float x : whole) {
    sum += double(x);
    square += double(x) * double(x);
  }
  EXPECT_NEAR(sum / n, 0, 3e-4);
  EXPECT_NEAR(std::sqrt(square / n), 0.02, 2e-4);
  fillNormal(1, randomStream("h.1.attn.c_attn.weight"), 0, n, 0.02f, parts.data());
  EXPECT_NE(whole, parts);
}

TEST_F(WeightsTest, RandomWeightsFollowTheirKinds) {
  builder.config.random_weights = 1;
  builder.config.threads = 3;
  const int64_t kinds[] = {GALVATRON_RT_INIT_ZERO, GALVATRON_RT_INIT_ONE, GALVATRON_RT_INIT_NORMAL};
  std::vector<int64_t> tensors;
  for (int64_t kind : kinds) {
    std::string name = "w" + std::to_string(kind);
    int64_t saved = builder.savedTensor(name, GALVATRON_RT_SAVED_TRAINABLE, GALVATRON_RT_F32,
                                        {300, 1000}, kind);
    tensors.push_back(parameter(name, {1000, 300}));
    builder.view(tensors.back(), saved, 0, {1, 1000});
  }
  start();
  randomWeights(*ctx);
  EXPECT_EQ(data(tensors[0])[5], 0);
  EXPECT_EQ(data(tensors[1])[299999], 1);
  float expected;
  fillNormal(0, randomStream("w2"), 7 * 1000 + 9, 1, 0.02f, &expected);
  EXPECT_EQ(data(tensors[2])[9 * 300 + 7], expected) << "the index is that of the saved tensor";
}

TEST_F(WeightsTest, OnlyFloatsAreNormallyDistributed) {
  builder.config.random_weights = 1;
  int64_t saved = builder.savedTensor("steps", GALVATRON_RT_SAVED_FROZEN, GALVATRON_RT_I64, {2},
                                      GALVATRON_RT_INIT_NORMAL);
  builder.view(builder.tensor("steps", GALVATRON_RT_ROLE_PARAMETER, GALVATRON_RT_I64, {2}), saved,
               0, {1});
  start();
  ASSERT_TRUE(ctx);
  std::string error;
  try {
    randomWeights(*ctx);
  } catch (const Error &e) {
    error = e.what();
  }
  EXPECT_EQ(error, "saved tensor 'steps' is i64 and cannot be filled with normal values");
}

} // namespace

// FilesTest.cpp: .npy and safetensors files that are not as they should be.
#include "TestFiles.h"
#include "checkpoint/SafeTensors.h"
#include "core/Image.h"
#include "data/Npy.h"

#include <functional>
#include <gtest/gtest.h>

using namespace galvatron_rt;

namespace {

class NpyTest : public testing::Test {
protected:
  std::string complaint(const std::string &bytes, int64_t dtype = GALVATRON_RT_F32,
                        const std::vector<int64_t> &shape = {2}) {
    writeFile(path, bytes);
    std::string error = errorOf([&] { NpyFile file(path, dtype, shape); });
    std::string prefix = "file '" + path + "'";
    EXPECT_TRUE(error.empty() || error.rfind(prefix, 0) == 0) << error;
    return error.empty() ? error : error.substr(prefix.size());
  }
  std::string header(const std::string &descr, const std::string &shape,
                     const std::string &order = "False") {
    return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
  }
  TemporaryFolder folder;
  std::string path = folder / "x.npy";
};

TEST_F(NpyTest, ReadsAllFormatsAndDtypes) {
  std::vector<float> floats = {1, 2, 3, 4};
  for (char version : {1, 2, 3}) {
    EXPECT_EQ(complaint(npyBytes(header("<f4", "(2, 2)"), bytesOf(floats), version)), "");
    NpyFile file(path, GALVATRON_RT_F32, {2});
    EXPECT_EQ(file.records(), 2);
    float record[2];
    file.read(1, record);
    EXPECT_EQ(record[0], 3);
    EXPECT_EQ(record[1], 4);
  }
  std::vector<int32_t> ints(10000);
  for (size_t i = 0; i < ints.size(); ++i)
    ints[i] = static_cast<int32_t>(i) - 5000;
  writeFile(path, npyBytes(header("<i4", "(2, 5000)"), bytesOf(ints)));
  std::vector<int64_t> wide(5000);
  NpyFile(path, GALVATRON_RT_I64, {5000}).read(1, wide.data());
  EXPECT_EQ(wide[0], 0);
  EXPECT_EQ(wide[4999], 4999);
  writeFile(path, npyBytes("{\"shape\": (1,), \"fortran_order\": False, \"descr\": \"|b1\"}",
                           std::string(1, '\1')));
  char flag = 0;
  NpyFile(path, GALVATRON_RT_I1, {}).read(0, &flag);
  EXPECT_EQ(flag, 1);
}

TEST_F(NpyTest, NamesWhatIsWrong) {
  std::string data = bytesOf(std::vector<float>{1, 2, 3, 4});
  std::string good = npyBytes(header("<f4", "(2, 2)"), data);
  EXPECT_EQ(complaint(""), ": not an .npy file: it has 0 bytes");
  EXPECT_EQ(complaint("PK\3\4 this is a zip file"),
            ": not an .npy file: it does not begin with \\x93NUMPY");
  EXPECT_EQ(complaint(npyBytes("{}", "", 9)),
            ": .npy format 9.0 is not known, wanted 1.0, 2.0 or 3.0");
  EXPECT_EQ(complaint(good.substr(0, 40)), ": its .npy header says 60 bytes, the file has 40");
  EXPECT_EQ(complaint(good.substr(0, good.size() - 3)),
            " is truncated: shape [2, 2] needs 16 bytes of data, found 13");
  EXPECT_EQ(complaint(npyBytes(header("<f8", "(2, 2)"), data)),
            ": dtype is <f8, wanted <f4 (float32)");
  EXPECT_EQ(complaint(npyBytes(header(">f4", "(2, 2)"), data)),
            ": dtype is >f4, wanted <f4 (float32)");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "(2, 2)"), data), GALVATRON_RT_I64),
            ": dtype is <f4, wanted <i8 or <i4 (int64 or int32)");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "(2, 2)"), data), GALVATRON_RT_I1),
            ": dtype is <f4, wanted |b1 (bool)");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "(2, 2)", "True"), data)),
            ": the array is in fortran order, wanted C order (numpy.ascontiguousarray)");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "(4,)"), data)),
            ": shape is [4], wanted [steps, 2] with at least one step");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "(0, 2)"), data)),
            ": shape is [0, 2], wanted [steps, 2] with at least one step");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "()"), data)),
            ": shape is [], wanted [steps, 2] with at least one step");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "(99999999999999999999, 2)"), data)),
            ": its .npy header has a dimension that is too large");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "(-2, 2)"), data)),
            ": its .npy header has a shape that is no tuple of numbers");
  EXPECT_EQ(complaint(npyBytes("{'descr': '<f4', 'fortran_order': False}", data)),
            ": its .npy header lacks 'descr', 'fortran_order' or 'shape'");
  EXPECT_EQ(complaint(npyBytes("{'descr': [('a', '<f4')]}", data)),
            ": its .npy header has something other than a simple dtype or key at character 10");
  EXPECT_EQ(complaint(npyBytes("{'a': 1}", data)), ": its .npy header has the unknown key 'a'");
  EXPECT_EQ(complaint(npyBytes("{'descr", data)), ": its .npy header has a string without an end");
  EXPECT_EQ(complaint(npyBytes(header("<f4", "(2, 2)", "Maybe"), data)),
            ": its .npy header has a fortran_order that is neither True nor False");
  EXPECT_EQ(complaint(npyBytes("shape", data)), ": its .npy header lacks a '{' at character 0");
  // A shape whose size does not fit into 64 bits.
  writeFile(path, npyBytes(header("<f4", "(9000000000000000000, 2)"), data));
  EXPECT_NE(
      errorOf([&] { NpyFile file(path, GALVATRON_RT_F32, {2}); }).find("an .npy file is too large"),
      std::string::npos);
}

TEST_F(NpyTest, NamesWhatIsNotAFile) {
  EXPECT_EQ(errorOf([&] { NpyFile file(folder / "y.npy", GALVATRON_RT_F32, {}); }),
            "file '" + (folder / "y.npy") + "': No such file or directory");
  EXPECT_EQ(errorOf([&] { NpyFile file(folder.path, GALVATRON_RT_F32, {}); }),
            "file '" + folder.path + "': not a regular file");
}

TEST_F(NpyTest, NoticesThatTheFileIsCutWhileItIsRead) {
  writeFile(path, npyBytes(header("<f4", "(2, 2)"), bytesOf(std::vector<float>{1, 2, 3, 4})));
  NpyFile file(path, GALVATRON_RT_F32, {2});
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5);
  float record[2];
  std::string end = std::to_string(std::filesystem::file_size(path));
  EXPECT_EQ(errorOf([&] { file.read(1, record); }),
            "file '" + path + "' ends at byte " + end + ", 5 more were wanted");
}

class SafeTensorsTest : public testing::Test {
protected:
  std::string complaint(const std::string &bytes) {
    writeFile(path, bytes);
    std::string error = errorOf([&] { SafeTensorsReader file(path); });
    std::string prefix = "file '" + path + "': ";
    EXPECT_TRUE(error.empty() || error.rfind(prefix, 0) == 0) << error;
    return error.empty() ? error : error.substr(prefix.size());
  }
  std::string entry(const std::string &dtype, const std::string &shape,
                    const std::string &offsets) {
    return "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}}";
  }
  TemporaryFolder folder;
  std::string path = folder / "x.safetensors";
};

TEST_F(SafeTensorsTest, ReadsWhatItWrites) {
  std::vector<float> a = {1, 2, 3, 4, 5, 6};
  int64_t b = -7;
  {
    SafeTensorsWriter writer(path, {{"a \"quoted\" \xc3\xa9", FileDtype::F32, {2, 3}},
                                    {"b", FileDtype::I64, {}},
                                    {"empty", FileDtype::F32, {0, 4}}});
    writer.begin();
    writer.write(a.data(), 24);
    writer.write(&b, 8);
    writer.commit();
  }
  SafeTensorsReader reader(path);
  ASSERT_EQ(reader.entries().size(), 3u);
  const auto &entry = reader.entries().at("a \"quoted\" \xc3\xa9");
  EXPECT_EQ(entry.shape, (std::vector<int64_t>{2, 3}));
  float two[2];
  reader.read(entry, 8, two, 8);
  EXPECT_EQ(two[0], 3);
  EXPECT_EQ(two[1], 4);
  int64_t read = 0;
  reader.read(reader.entries().at("b"), 0, &read, 8);
  EXPECT_EQ(read, -7);
}

TEST_F(SafeTensorsTest, ReadsEveryDtype) {
  const std::pair<const char *, int64_t> rows[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2},
                                                   {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1},
                                                   {"U8", 1},  {"BOOL", 1}};
  for (auto [name, bytes] : rows) {
    EXPECT_EQ(
        complaint(safetensorsBytes(entry(name, "[3]", "[0," + std::to_string(3 * bytes) + "]"),
                                   std::string(static_cast<size_t>(3 * bytes), 'x'))),
        "");
    FileDtype dtype = SafeTensorsReader(path).entries().at("a").dtype;
    EXPECT_STREQ(fileDtypeName(dtype), name);
    EXPECT_EQ(fileDtypeBytes(dtype), bytes);
  }
}

TEST_F(SafeTensorsTest, NamesWhatIsWrong) {
  std::string data(8, 'x');
  auto file = [&](const std::string &header) { return complaint(safetensorsBytes(header, data)); };
  EXPECT_EQ(file(entry("F32", "[2]", "[0,8]")), "");
  EXPECT_EQ(complaint("abc"), "not a safetensors file: it has 3 bytes");
  EXPECT_EQ(complaint(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)),
            "not a safetensors file, or truncated: its header would have 18446744073709551615 bytes, the file has 10");
  EXPECT_EQ(complaint(safetensorsBytes(entry("F32", "[2]", "[0,8]"), "").substr(0, 20)),
            "not a safetensors file, or truncated: its header would have 54 bytes, the file has 20");
  EXPECT_EQ(file("{nonsense"), "its header is not JSON");
  EXPECT_EQ(file(""), "its header is not JSON");
  EXPECT_EQ(file(std::string(100000, '[')), "its header is not JSON");
  EXPECT_EQ(file("[1]"), "its header is no JSON object");
  EXPECT_EQ(file("{\"a\":{},\"a\":{}}"), "the name 'a' stands twice in its header");
  EXPECT_EQ(file("{\"a\":{\"dtype\":\"F32\"}}"),
            "tensor 'a' lacks a dtype, a shape or two data_offsets");
  EXPECT_EQ(file("{\"a\":3}"), "tensor 'a' lacks a dtype, a shape or two data_offsets");
  EXPECT_EQ(file(entry("F8", "[2]", "[0,8]")), "tensor 'a' has the unknown dtype 'F8'");
  EXPECT_EQ(file(entry("F32", "[-2]", "[0,8]")), "tensor 'a': a dimension is no count: -2");
  EXPECT_EQ(file(entry("F32", "[2.5]", "[0,8]")), "tensor 'a': a dimension is no count: 2.5");
  EXPECT_EQ(file(entry("F32", "[4294967296,4294967296]", "[0,8]")),
            "tensor 'a' has the shape [4294967296,4294967296], which is too large");
  EXPECT_EQ(file(entry("F32", "[2]", "[0,\"8\"]")), "tensor 'a': a data offset is no count: \"8\"");
  EXPECT_EQ(file(entry("F32", "[2]", "[8,0]")), "tensor 'a' has its data at 8 to 0 of 8 bytes");
  EXPECT_EQ(file(entry("F32", "[3]", "[0,12]")), "tensor 'a' has its data at 0 to 12 of 8 bytes");
  EXPECT_EQ(file(entry("F32", "[3]", "[0,8]")),
            "tensor 'a' has 8 bytes of data, its shape [3] of F32 needs 12");
  const std::string twoTensors = "{\"a\":{\"dtype\":\"U8\",\"shape\":[6],\"data_offsets\":[0,6]},"
                                 "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}";
  EXPECT_EQ(file(twoTensors), "tensors 'a' and 'b' share bytes");
  EXPECT_EQ(file(entry("U8", "[4]", "[4,8]")), "4 bytes before tensor 'a' belong to no tensor");
  EXPECT_EQ(file(entry("U8", "[4]", "[0,4]")), "4 bytes at its end belong to no tensor");
}

TEST_F(SafeTensorsTest, LeavesTheOldFileUntilCommit) {
  writeFile(path, "old");
  {
    SafeTensorsWriter writer(path, {{"a", FileDtype::U8, {4}}});
    writer.begin();
    writer.write("new!", 4);
    EXPECT_EQ(readFile(path), "old");
  }
  EXPECT_EQ(readFile(path), "old") << "dropped without commit";
  SafeTensorsWriter half(path, {{"a", FileDtype::U8, {4}}});
  half.begin();
  half.write("ne", 2);
  EXPECT_NE(errorOf([&] { half.commit(); }).find("bytes were written"), std::string::npos);
  EXPECT_EQ(readFile(path), "old");
  EXPECT_EQ(errorOf([&] { SafeTensorsWriter nowhere(folder / "no/x.safetensors", {}); }),
            "file '" + (folder / "no/x.safetensors") + "': No such file or directory");
}

} // namespace

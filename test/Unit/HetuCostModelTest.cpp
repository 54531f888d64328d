//===- HetuCostModelTest.cpp - The predecessor's costs, as it computes them -===//
//
// cost_vectors.json is what the predecessor's own program printed for 148 strategies; see test/Inputs/galvatron/NOTICE.
//
//===----------------------------------------------------------------------===//

#include "HetuInputs.h"
#include "galvatron/Support/JsonFile.h"

#include <cmath>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

/// A vector of the file, and what differs from it by more than a millionth.
class Vector {
public:
  explicit Vector(const json::Object &object) : object(object) {}
  int64_t integer(StringRef key) const { return object.getInteger(key).value(); }
  LayerStrategy strategy() const {
    StringRef sharding = object.getString("dp_type").value();
    LayerStrategy s{integer("pp"), integer("tp"), integer("sp"), integer("dp")};
    s.sharding = sharding == "zero3" ? StateSharding::Zero3 : sharding == "zero2" ? StateSharding::Zero2 : StateSharding::Replicated;
    s.checkpoint = object.getBoolean("checkpoint").value();
    return s;
  }
  void expect(StringRef key, ArrayRef<double> found) const {
    const json::Value *value = object.get(key);
    ASSERT_NE(value, nullptr) << key.str();
    std::vector<double> wanted;
    if (const json::Array *list = value->getAsArray())
      for (const json::Value &each : *list)
        wanted.push_back(each.getAsNumber().value());
    else
      wanted.push_back(value->getAsNumber().value());
    ASSERT_EQ(found.size(), wanted.size()) << key.str();
    for (size_t i = 0; i < wanted.size(); ++i)
      EXPECT_LE(std::fabs(found[i] - wanted[i]), 1e-6 * std::fabs(wanted[i]))
          << object.getString("strategy")->str() << ", G " << integer("global_bsz") << ", C " << integer("chunks") << ": " << key.str() << "[" << i
          << "] is " << found[i] << ", wanted " << wanted[i];
  }
  std::vector<int64_t> partition() const {
    std::vector<int64_t> layers;
    for (const json::Value &each : *object.getArray("partition"))
      layers.push_back(each.getAsInteger().value());
    return layers;
  }

private:
  const json::Object &object;
};

} // namespace

TEST(HetuCostModel, IsThatOfThePredecessor) {
  CostModel model = Inputs().make();
  std::optional<json::Value> file = readJsonFile(inputs + "/cost_vectors.json", "vectors", failOn);
  ASSERT_TRUE(file.has_value());
  const json::Array &vectors = *file->getAsObject()->getArray("vectors");
  EXPECT_EQ(vectors.size(), 148u);
  for (const json::Value &each : vectors) {
    Vector vector(*each.getAsObject());
    LayerStrategy strategy = vector.strategy();
    int64_t batch = vector.integer("global_bsz"), microBatches = vector.integer("chunks");
    LayerCost layer = model.getLayerCost(strategy, batch, microBatches);
    vector.expect("layer_time_s_with_grad_sync", layer.timeWithSync);
    vector.expect("layer_time_s_no_grad_sync", layer.time);
    vector.expect("layer_model_states_MB", layer.states);
    vector.expect("layer_activation_MB_per_stage", layer.activation);
    std::vector<double> memory;
    for (size_t stage = 0; stage < layer.activation.size(); ++stage)
      memory.push_back(layer.getMemory(stage));
    vector.expect("layer_mem_MB_per_stage", memory);

    strategy.checkpoint = false;
    EndCost end = model.getEndCost(strategy, batch, microBatches);
    vector.expect("embed_time_s_per_stage_with_sync", end.timeWithSync);
    vector.expect("embed_time_s_per_stage_no_sync", end.time);
    vector.expect("embed_mem_MB_per_stage", end.memory);

    std::vector<double> withSync, stages;
    for (auto [stage, layers] : enumerate(vector.partition())) {
      withSync.push_back(static_cast<double>(layers) * layer.timeWithSync);
      stages.push_back(static_cast<double>(layers) * layer.time + end.time[stage]);
    }
    vector.expect("uniform_iteration_time_s", CostModel::getStepTime(withSync, stages, microBatches));
  }
}

// Its own fits end where another step would change little.
TEST(HetuProfiles, FitsAreThoseOfThePredecessor) {
  std::string path = inputs + "/main/galvatron/models/gpt/configs/computation_profiling_bf16_llama2-7b_all.json";
  auto profile = readComputationProfile(path, TimeMode::Batch, {2048}, failOn);
  ASSERT_TRUE(profile.has_value());
  EXPECT_NEAR(profile->layers.front().perSample, 3.85901689949117, 1e-7);
  EXPECT_NEAR(profile->layers.front().constant, 0.8329851393754094, 1e-6);
  EXPECT_NEAR(profile->other.perSample, 2.6803283211563755, 1e-7);
  EXPECT_NEAR(profile->other.constant, 2.3548993612929927, 1e-6);
}

TEST(HetuProfiles, PolynomialsGoThroughTheirPoints) {
  std::vector<std::pair<double, double>> points;
  for (double x : {1024., 2048., 4096., 8192., 32768.})
    points.emplace_back(x, 3 + 2e-3 * x + 5e-8 * x * x);
  Polynomial found = fitPolynomial(points, 2);
  for (auto [x, y] : points)
    EXPECT_NEAR(found(x), y, 1e-9 * y);
  EXPECT_NEAR(found(100000), 3 + 200 + 500, 1e-6);
  EXPECT_EQ(fitPolynomial(ArrayRef<std::pair<double, double>>{{2, 5}, {2, 5}}, 1)(7), 5) << "all at one place";
}

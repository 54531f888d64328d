//===- ScheduleTest.cpp - M micro-batches compute what one computes -------===//
//
// Takes the chain of test/Inputs/steps, and models that are drawn, through plan,
// partition and schedule with several numbers of micro-batches, and evaluates
// the tables row by row.
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"
#include "RandomModel.h"
#include "dialects/Dist/Dist.h"
#include "dialects/Pipe/Pipe.h"
#include "galvatron/Partition/Passes.h"
#include "galvatron/Plan/Passes.h"
#include "galvatron/Schedule/Passes.h"
#include "galvatron/Training/Passes.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>
#include <map>
#include <random>

using namespace mlir;
using namespace galvatron;
using namespace galvatron::test;

namespace {

using Named = std::map<std::string, Tensor>;

/// Puts a piece after the `number` pieces that `whole` has, along a dimension.
void append(Tensor &whole, const Tensor &piece, int64_t dim, int64_t number) {
  if (number == 0) {
    whole = piece;
    return;
  }
  Tensor longer(whole.shape);
  longer.shape[dim] += piece.shape[dim];
  longer = Tensor(longer.shape);
  forEach(longer.shape, [&](const Index &index) {
    Index inside = index;
    inside[dim] -= whole.shape[dim];
    longer.at(index) = inside[dim] < 0 ? whole.at(index) : piece.at(inside);
  });
  whole = longer;
}

/// What a table hands out and stores, given inputs and parameters.
Named run(pipe::TableOp table, const Named &inputs, const Named &parameters) {
  auto module = table->getParentOfType<ModuleOp>();
  Named made;
  DenseMap<Value, Tensor> slots;
  auto rows = [](const Tensor &whole, Type type, int64_t microBatch) {
    Tensor piece(type);
    std::copy_n(whole.data.begin() + microBatch * piece.data.size(), piece.data.size(), piece.data.begin());
    return piece;
  };
  Evaluator evaluator;
  for (Operation &row : table.getRows().front()) {
    int64_t microBatch = pipe::getMicroBatch(&row).value_or(0);
    if (auto input = dyn_cast<pipe::InputOp>(row)) {
      slots[input.getResult()] = rows(inputs.at(input.getInput().str()), input.getType(), microBatch);
    } else if (auto piece = dyn_cast<pipe::PieceOp>(row)) {
      slots[piece.getResult()] = rows(slots.lookup(piece.getValue()), piece.getType(), microBatch);
    } else if (auto parameter = dyn_cast<pipe::ParameterOp>(row)) {
      slots[parameter.getResult()] = parameters.at(parameter.getParameter().str());
    } else if (auto place = dyn_cast<pipe::PlaceOp>(row)) {
      Tensor whole = place.getWhole() ? slots.lookup(place.getWhole()) : Tensor(place.getType()), piece = slots.lookup(place.getValue());
      std::copy(piece.data.begin(), piece.data.end(), whole.data.begin() + microBatch * piece.data.size());
      slots[place.getResult()] = whole;
    } else if (auto zero = dyn_cast<pipe::ZeroOp>(row)) {
      slots[zero.getResult()] = Tensor(zero.getType());
    } else if (auto store = dyn_cast<pipe::StoreOp>(row)) {
      made["store " + store.getParameter().str()] = slots.lookup(store.getValue());
    } else if (auto gradient = dyn_cast<pipe::GradientOp>(row)) {
      made["gradient " + gradient.getParameter().str()] = slots.lookup(gradient.getValue());
    } else if (auto output = dyn_cast<pipe::OutputOp>(row)) {
      append(made["output " + output.getOutput().str()], slots.lookup(output.getValue()), output.getDim(), microBatch);
    } else {
      auto call = cast<pipe::RunOp>(row);
      std::vector<Tensor> arguments;
      for (Value operand : call.getInputs())
        arguments.push_back(slots.lookup(operand));
      auto results = evaluator.evaluate(module.lookupSymbol<func::FuncOp>(call.getCallee()), arguments);
      for (auto [result, tensor] : llvm::zip(call.getOutputs(), results))
        slots[result] = tensor;
    }
  }
  return made;
}

class Schedule : public testing::TestWithParam<int64_t> {
protected:
  Schedule() {
    context.loadDialect<nn::NNDialect, func::FuncDialect, dist::DistDialect, pipe::PipeDialect>();
    std::mt19937 random(20);
    auto draw = [&](Index shape, double low, double high, bool whole) {
      Tensor tensor(shape);
      for (double &value : tensor.data) {
        value = std::uniform_real_distribution<>(low, high)(random);
        value = whole ? std::floor(value) : value;
      }
      return tensor;
    };
    inputs["input_ids"] = draw({4, 3}, 0, 5, true);
    inputs["labels"] = draw({4, 3}, 0, 5, true);
    // The counted labels differ from one micro-batch to the next.
    inputs["labels"].data[0] = inputs["labels"].data[1] = inputs["labels"].data[7] = -100;
    inputs["hyper"] = Tensor({16});
    parameters["wte"] = draw({5, 4}, -1, 1, false);
    parameters["w0"] = draw({4, 4}, -1, 1, false);
    parameters["w1"] = draw({4, 4}, -1, 1, false);
  }

  /// Schedules the chain and evaluates one of its tables.
  Named evaluate(int64_t microBatches, StringRef table) {
    return evaluate(parseSourceFile<ModuleOp>(GALVATRON_CHAIN, &context), microBatches, table);
  }

  /// Schedules a training step and evaluates one of its tables.
  Named evaluate(OwningOpRef<ModuleOp> module, int64_t microBatches, StringRef table) {
    PassManager passes(&context);
    DistApplyPlanPassOptions plan;
    plan.microBatches = microBatches;
    passes.addPass(createDistApplyPlanPass(plan));
    passes.addPass(createDistCutPass());
    passes.addPass(createDistPropagateLayoutsPass());
    passes.addPass(createDistPartitionPass());
    passes.addPass(createPipeSplitPass());
    passes.addPass(createPipeSchedulePass());
    passes.addPass(createPipeVerifySchedulePass());
    if (!module || failed(passes.run(*module)))
      return {};
    return run(module->lookupSymbol<pipe::TableOp>(table), inputs, parameters);
  }

  MLIRContext context;
  Named inputs, parameters;
};

TEST_P(Schedule, EqualsOneMicroBatch) {
  for (StringRef table : {"train", "forward"}) {
    Named one = evaluate(1, table), many = evaluate(GetParam(), table);
    ASSERT_EQ(one.size(), table == "train" ? 8u : 2u);
    for (auto &[name, wanted] : one) {
      ASSERT_TRUE(many.count(name)) << name;
      ASSERT_EQ(many[name].data.size(), wanted.data.size()) << name;
      for (size_t i = 0; i < wanted.data.size(); ++i)
        EXPECT_NEAR(many[name].data[i], wanted.data[i], 1e-12) << name << ", element " << i;
    }
  }
}

/// The gradients that the table hands out are those of the loss that it hands out.
TEST_P(Schedule, GradientsAreFiniteDifferences) {
  Named made = evaluate(GetParam(), "train");
  const Named start = parameters;
  for (auto &entry : start) {
    const std::string &name = entry.first;
    const Tensor &values = entry.second;
    for (size_t i = 0; i < values.data.size(); ++i) {
      auto loss = [&](double h) {
        parameters[name].data[i] = values.data[i] + h;
        double result = evaluate(GetParam(), "train")["output loss"].data[0];
        parameters[name].data[i] = values.data[i];
        return result;
      };
      EXPECT_NEAR(made["gradient " + name].data[i], (loss(1e-5) - loss(-1e-5)) / 2e-5, 1e-8) << name << ", element " << i;
    }
  }
}

/// Losses, gradients, updates and outputs of models that are drawn.
TEST_P(Schedule, DrawnModelsEqualOneMicroBatch) {
  for (unsigned seed = 100; seed < 160; ++seed) {
    std::string text = RandomModel(seed).draw();
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + text);
    auto train = [&]() {
      OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &context);
      PassManager passes(&context);
      addTrainingPasses(passes, {"output:loss"});
      EXPECT_TRUE(module && succeeded(passes.run(*module)));
      return module;
    };
    std::mt19937 random(seed);
    parameters.clear();
    OwningOpRef<ModuleOp> module = train();
    for (auto parameter : module->getOps<nn::ParameterOp>()) {
      Tensor &values = parameters[parameter.getSymName().str()] = Tensor(parameter.getType());
      for (double &value : values.data)
        value = parameter.getKind() == nn::ParameterKind::State ? 0 : std::uniform_real_distribution<>(-1, 1)(random);
    }
    inputs["ids"] = inputs["input_ids"];
    inputs["hyper"] = Tensor({16}, 0.5);
    inputs["x"] = Tensor({4, 3}, 0.5);
    for (double &value : inputs["x"].data)
      value += std::uniform_real_distribution<>(0, 1)(random);
    for (StringRef table : {"train", "forward"}) {
      Named one = evaluate(train(), 1, table), many = evaluate(train(), GetParam(), table);
      ASSERT_EQ(one.count("output loss"), 1u);
      ASSERT_EQ(one.size(), many.size());
      for (auto &[name, wanted] : one) {
        ASSERT_EQ(many[name].shape, wanted.shape) << name;
        double largest = 1;
        for (double value : wanted.data)
          largest = std::max(largest, std::abs(value));
        for (size_t i = 0; i < wanted.data.size(); ++i)
          ASSERT_NEAR(many[name].data[i], wanted.data[i], 1e-12 * largest) << name << ", element " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(MicroBatches, Schedule, testing::Values(1, 2, 4));

} // namespace

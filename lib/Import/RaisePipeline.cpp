//===- RaisePipeline.cpp - The order of the raising passes ----------------===//

#include "galvatron/Import/Passes.h"

#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void galvatron::buildRaisePipeline(OpPassManager &pm) {
  auto cleanUp = [&] {
    pm.addPass(createCanonicalizerPass());
    pm.addPass(createCSEPass());
  };
  // All exporters' attention is written out, so that one pass recognises it with its masks and groups.
  pm.addNestedPass<func::FuncOp>(createNNExpandAttention());
  // Idioms are matched without the dimensions of size one that exporters put everywhere ...
  cleanUp();
  pm.addPass(createNNDropUnitDims());
  pm.addNestedPass<func::FuncOp>(createNNSinkBroadcasts());
  cleanUp();
  // ... and those of one activation before its dimensions are split: a rotation by halves is no split.
  pm.addNestedPass<func::FuncOp>(createNNRaiseActivations());
  pm.addNestedPass<func::FuncOp>(createNNRaiseRotary());
  pm.addNestedPass<func::FuncOp>(createNNRaiseNorms());
  cleanUp();
  // Heads, groups and the three of QKV are dimensions now; reshapes between them are gone.
  pm.addPass(createNNSplitDims());
  cleanUp();
  pm.addNestedPass<func::FuncOp>(createNNHoistTransposes());
  pm.addNestedPass<func::FuncOp>(createNNSinkBroadcasts());
  pm.addPass(createNNFoldProjections());
  cleanUp();
  // Attention is what is left between two contractions. It takes operands in the order in which the
  // projections make them, so the transposes around it meet and cancel.
  pm.addNestedPass<func::FuncOp>(createNNRaiseAttention());
  pm.addNestedPass<func::FuncOp>(createNNHoistTransposes());
  pm.addPass(createNNFoldProjections());
  cleanUp();
}

void galvatron::registerRaisePipeline() {
  PassPipelineRegistration<>("nn-raise", "Exporters' idioms to the ops that they mean", buildRaisePipeline);
}

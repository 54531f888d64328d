//===- galvatron-opt.cpp - Runs any slice of the passes -------------------===//

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "dialects/Pipe/Pipe.h"
#include "dialects/RT/RT.h"
#include "galvatron/Codegen/Passes.h"
#include "galvatron/Import/Passes.h"
#include "galvatron/Partition/Passes.h"
#include "galvatron/Plan/Passes.h"
#include "galvatron/Schedule/Passes.h"
#include "galvatron/Training/Passes.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<galvatron::nn::NNDialect, galvatron::dist::DistDialect, galvatron::pipe::PipeDialect,
                  galvatron::rt::RTDialect>();
  mlir::registerTransformsPasses();
  galvatron::registerImportPasses();
  galvatron::registerRaisePipeline();
  galvatron::registerTrainingPasses();
  galvatron::registerPlanPasses();
  galvatron::registerPartitionPasses();
  galvatron::registerSchedulePasses();
  galvatron::registerCodegenPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Galvatron's pass driver\n", registry));
}

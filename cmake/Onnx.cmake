# The protobuf description of ONNX and its C++ code.
#
# It comes out of the PyPI wheel `onnx`, which is newer than Debian's libonnx (that one knows neither metadata nor
# opsets after 17). Say -DGALVATRON_ONNX_PROTO=FILE to use a copy of onnx-ml.proto that is already there.

set(GALVATRON_ONNX_VERSION 1.23.2)
set(GALVATRON_ONNX_SHA256 "c03ecf6b835d136108eeaeeafbd0026fc7b3cf98661409fbc6b63d5a29361348")
set(GALVATRON_ONNX_PROTO "" CACHE FILEPATH "onnx-ml.proto; empty: taken from the wheel onnx==${GALVATRON_ONNX_VERSION}")

find_package(Protobuf 3.21 REQUIRED)

set(onnx_dir ${PROJECT_BINARY_DIR}/onnx)
set(onnx_proto ${onnx_dir}/onnx-ml.proto)
file(MAKE_DIRECTORY ${onnx_dir})
if(GALVATRON_ONNX_PROTO)
  configure_file(${GALVATRON_ONNX_PROTO} ${onnx_proto} COPYONLY)
elseif(NOT EXISTS ${onnx_proto})
  file(GLOB wheels ${onnx_dir}/onnx-*.whl)
  if(NOT wheels)
    message(STATUS "Downloading the wheel onnx==${GALVATRON_ONNX_VERSION} for onnx-ml.proto")
    file(WRITE ${onnx_dir}/requirements.txt "onnx==${GALVATRON_ONNX_VERSION} --hash=sha256:${GALVATRON_ONNX_SHA256}\n")
    execute_process(COMMAND ${Python3_EXECUTABLE} -m pip download --quiet --no-deps --only-binary=:all: --python-version=3.11
      --platform=manylinux_2_28_x86_64 --require-hashes -r ${onnx_dir}/requirements.txt -d ${onnx_dir} RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR "pip could not download onnx==${GALVATRON_ONNX_VERSION}; say -DGALVATRON_ONNX_PROTO=FILE to use a copy of onnx-ml.proto")
    endif()
    file(GLOB wheels ${onnx_dir}/onnx-*.whl)
  endif()
  execute_process(COMMAND ${Python3_EXECUTABLE} -c
    "import sys, zipfile; open(sys.argv[2], 'wb').write(zipfile.ZipFile(sys.argv[1]).read('onnx/onnx-ml.proto'))"
    ${wheels} ${onnx_proto} COMMAND_ERROR_IS_FATAL ANY)
endif()

add_custom_command(OUTPUT ${onnx_dir}/onnx-ml.pb.cc ${onnx_dir}/onnx-ml.pb.h
  COMMAND protobuf::protoc --cpp_out=${onnx_dir} -I${onnx_dir} ${onnx_proto}
  DEPENDS ${onnx_proto} VERBATIM)
add_library(GalvatronOnnxProto STATIC ${onnx_dir}/onnx-ml.pb.cc)
target_include_directories(GalvatronOnnxProto SYSTEM PUBLIC ${onnx_dir} ${Protobuf_INCLUDE_DIRS})
target_compile_options(GalvatronOnnxProto PRIVATE -w)
target_link_libraries(GalvatronOnnxProto PUBLIC protobuf::libprotobuf)

# Compiler options shared by every target of ftvmm, as one interface library.
add_library(ftvmm_options INTERFACE)
target_compile_features(ftvmm_options INTERFACE cxx_std_20)
target_compile_options(ftvmm_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Werror>)
# Paths in messages and checks start at the source root, whatever folder it was built in.
target_compile_options(ftvmm_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=>)

# Fuzzers add -fsanitize=fuzzer to their own link; everything they call is instrumented for it.
if(FTVMM_FUZZ)
  target_compile_options(ftvmm_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()

if(FTVMM_SANITIZE)
  target_compile_options(ftvmm_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${FTVMM_SANITIZE} -fno-omit-frame-pointer
                              -fno-sanitize-recover=all>)
  target_link_options(ftvmm_options INTERFACE -fsanitize=${FTVMM_SANITIZE})
  if(FTVMM_SANITIZE MATCHES thread)
    # ThreadSanitizer knows no fences. Asio has some around each handler, beside the locks that order
    # handlers anyway.
    target_compile_definitions(ftvmm_options INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()

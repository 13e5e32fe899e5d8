// swift-tools-version: 6.2
import PackageDescription

// A package of its own, which depends on the library as yours would.
let package = Package(
    name: "Examples",
    dependencies: [
        .package(name: "SharedState", path: ".."),
        .package(name: "SharedStateLogging", path: "../Logging"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    ],
    targets: [
        .target(name: "Reading"),
        .executableTarget(
            name: "producer",
            dependencies: ["Reading", .product(name: "CShm", package: "SharedState")]),
        .executableTarget(
            name: "consumer",
            dependencies: ["Reading", .product(name: "SharedState", package: "SharedState")]),
        .executableTarget(
            name: "logged",
            dependencies: [
                .product(name: "SharedState", package: "SharedState"),
                .product(name: "SharedStateLogging", package: "SharedStateLogging"),
                .product(name: "Logging", package: "swift-log"),
            ]),
    ]
)

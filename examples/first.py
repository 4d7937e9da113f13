import torch

import rodflow as rf

torch.set_num_threads(1)  # so small a network gains nothing from more
problem = rf.problems.digits("mlp", examples=150)
optimizer = rf.RMSProp(learning_rate=2.5e-4)
run = rf.train(problem.objective, optimizer, problem.w0, steps=640)
models = {"stable": rf.StableFlow, "rod": rf.RodFlow, "twin": rf.Twin}
flows = {}
for name, model in models.items():
    flow = model(problem.objective, optimizer)
    flows[name] = rf.integrate(flow, start=run.window(at=60), steps=580)
    print(f"{name:6} ends {flows[name].error(run).iloc[-1]:.0e} from the run")
rf.plot(run, flows, title="RMSProp, MLP on 150 digits").savefig("first.png")
